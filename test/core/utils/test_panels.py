"""Pictures side by side, with captions, titles and the legend."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from querydiff_core.label_space import cityscapes
from querydiff_core.utils.panels import (
    DARK,
    WHITE,
    blank,
    fitted,
    framed,
    grid,
    legend,
    panel,
    text_width,
    titled,
    write,
)

RED, BLUE = (255, 0, 0), (0, 0, 255)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 9), st.integers(1, 4), st.integers(0, 5))
def test_a_grid_shows_every_tile_at_its_place_and_the_ground_elsewhere(tiles, columns, gap):
    sheet = grid([blank(3, 4, (index, 0, 0)) for index in range(tiles)], columns, gap, BLUE)
    rows = -(-tiles // columns)
    assert sheet.shape == (rows * (3 + gap) - gap, columns * (4 + gap) - gap, 3)
    for index in range(tiles):
        y, x = index // columns * (3 + gap), index % columns * (4 + gap)
        assert (sheet[y : y + 3, x : x + 4] == (index, 0, 0)).all()
    assert (sheet == BLUE).all(-1).sum() == sheet.shape[0] * sheet.shape[1] - 12 * tiles


@pytest.mark.parametrize("ground", [DARK, WHITE])
def test_a_title_can_be_read_on_either_ground(ground):
    tile = titled(blank(20, 200, RED), "title", ground)
    assert tile.shape == (46, 200, 3)
    assert (tile[26:] == RED).all()
    assert (tile[0, 0] == ground).all()
    assert np.abs(tile[:26].astype(int) - ground).max() > 150


@pytest.mark.parametrize("letters", [1, 10, 60, 300])
def test_a_title_is_never_cut_off(letters):
    strip = titled(blank(5, 300), "W" * letters)[:26]
    assert (strip[:, :2] == WHITE).all()
    assert (strip[:, -2:] == WHITE).all()
    assert (strip != WHITE).any()


def test_text_ends_where_it_is_said_to_end():
    picture = blank(30, 300)
    end = write(picture, "some text", (10, 20))
    assert end == 10 + text_width("some text")
    columns = np.nonzero((picture != DARK).any((0, 2)))[0]
    assert 10 <= columns.min() < 16
    assert end - 8 < columns.max() <= end + 1
    assert text_width("some text", bold=True) > 0
    write(picture, "größer · 1 €", (10, 20))  # letters that OpenCV's fonts may lack


def test_a_caption_darkens_its_corner_alone():
    tile = panel(blank(30, 100, (200, 200, 200)), 200, 60, "input")
    assert tile.shape == (60, 200, 3)
    changed = (tile != 200).any(-1)
    assert changed[:24, :40].all()
    assert not changed[24:].any()
    assert not changed[:, 120:].any()


def test_pictures_are_fitted_without_distortion_and_framed():
    tile = fitted(blank(10, 40, RED), 20, 20, BLUE)
    assert tile.shape == (20, 20, 3)
    assert (tile[:5] == RED).all()
    assert (tile[5:] == BLUE).all()
    assert (panel(blank(10, 40, RED), 8, 2) == blank(2, 8, RED)).all()
    frame = framed(blank(2, 3, RED), 1, 2, 4, BLUE)
    assert frame.shape == (5, 11, 3)
    assert (frame[1:3, 4:7] == RED).all()
    assert (frame == BLUE).all(-1).sum() == 55 - 6


@pytest.mark.parametrize("width", [130, 700, 1301])
def test_the_legend_has_the_colour_of_every_class(width):
    picture = legend(width, cityscapes())
    assert picture.shape[1] == width
    for color in cityscapes().palette:
        assert (picture == color).all(-1).sum() >= 15 * 19
