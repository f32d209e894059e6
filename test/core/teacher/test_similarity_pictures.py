"""Pictures of what agent queries attend to, for similarities that are known exactly."""

import numpy as np
import pytest

from querydiff_core.teacher.similarity_pictures import COLUMNS, TILE_WIDTH, attention_picture, query_colors, query_sheet

SIZE = (4, 8)


def image(height: int = 128, width: int = 256) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def one_hot(winners: np.ndarray, queries: int) -> np.ndarray:
    """Return S that gives each cell to one query."""
    return np.eye(queries, dtype=np.float32)[winners.reshape(-1)]


def test_each_cell_has_the_colour_of_its_query() -> None:
    winners = np.arange(32).reshape(SIZE) % 7
    picture = attention_picture(image(), one_hot(winners, 7), SIZE, opacity=1)
    expected = query_colors(7)[winners].repeat(32, 0).repeat(32, 1)
    np.testing.assert_array_equal(picture, expected)


def test_the_image_shows_through() -> None:
    similarity = one_hot(np.zeros(SIZE, int), 3)
    dark, light = (attention_picture(np.full((64, 128, 3), v, np.uint8), similarity, SIZE) for v in (0, 255))
    assert (light.astype(int) - dark > 80).all()
    assert light.dtype == np.uint8
    assert light.shape == (64, 128, 3)


@pytest.mark.parametrize("queries", [2, 100, 150])
def test_colours_differ(queries: int) -> None:
    colors = query_colors(queries).astype(int)
    distance = np.linalg.norm(colors[:, None] - colors[None], axis=-1)
    assert distance[~np.eye(queries, dtype=bool)].min() > 15
    assert np.linalg.norm(np.diff(colors, axis=0), axis=-1).min() > 60, "neighbours are far apart"
    np.testing.assert_allclose(colors, query_colors(200)[:queries], atol=2)  # OpenCV rounds by the array's length


@pytest.mark.parametrize(("queries", "wanted", "rows", "columns"), [(10, 8, 2, 4), (10, 5, 2, 4), (2, 8, 1, 2)])
def test_sheet_has_a_tile_for_each_of_the_most_used_queries(queries: int, wanted: int, rows: int, columns: int) -> None:
    similarity = np.random.default_rng(1).dirichlet(np.ones(queries), 32).astype(np.float32)
    sheet = query_sheet(image(), similarity, SIZE, wanted)
    tile = TILE_WIDTH // 2 + 26
    assert sheet.shape == (rows * tile, columns * TILE_WIDTH, 3)
    assert columns <= COLUMNS
    assert sheet.dtype == np.uint8


def test_sheet_starts_with_the_most_used_query_and_is_bright_where_it_attends() -> None:
    similarity = np.full((*SIZE, 3), 0.05, np.float32)
    similarity[..., 2] = 0.4  # used most, everywhere alike
    similarity[3, 7] = (0.05, 0.9, 0.05)  # query 1: here alone
    sheet = query_sheet(np.zeros((128, 256, 3), np.uint8), similarity.reshape(-1, 3), SIZE, 2)
    first, second = sheet[26:, :TILE_WIDTH].sum(-1), sheet[26:, TILE_WIDTH:].sum(-1)
    cell = 192 // 4
    assert first[-cell // 2, -cell // 2] < first[0, 0], "query 2 attends everywhere but to the last cell"
    assert second[-1, -1] > 3 * second[0, 0], "query 1 attends to the last cell"


def test_no_attention_at_all_is_no_error() -> None:
    assert query_sheet(image(), np.zeros((32, 4), np.float32), SIZE, 4).any()
