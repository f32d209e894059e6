"""Pictures of S (Eq. 8): what each agent query attends to in an image."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.utils.overlay import heat_map
from querydiff_core.utils.panels import grid, panel, titled

TILE_WIDTH = 384  # of a sheet, in pixels
COLUMNS = 4
BLACK = (0, 0, 0)
_STEPS = (0.8191725, 0.6710436, 0.5497005)  # multiples of these, modulo 1, spread evenly over a cube (Roberts' R3)


def attention_picture(
    image: np.ndarray, similarity: np.ndarray, size: tuple[int, int], opacity: float = 0.55
) -> np.ndarray:
    """Return the image blended with the colour of the query that each cell attends to most.

    A query has the same colour in every picture.

    Args:
        image: uint8 RGB `(H, W, 3)`.
        similarity: S `(h w, r)` of that image; rows sum to 1.
        size: (h, w).
        opacity: of the colours, 0 to 1.
    """
    height, width = image.shape[:2]
    cells = query_colors(similarity.shape[1])[similarity.argmax(1)].reshape(*size, 3)
    colors = cv2.resize(cells, (width, height), interpolation=cv2.INTER_NEAREST)
    blended: np.ndarray = cv2.addWeighted(_gray(image), 1 - opacity, colors, opacity, 0)
    return blended


def query_sheet(image: np.ndarray, similarity: np.ndarray, size: tuple[int, int], queries: int = 8) -> np.ndarray:
    """Return a sheet of tiles, one for each of the most used queries, bright where cells attend to it.

    A tile says which query it is, its share of all attention, and the attention of its brightest cell.

    Args:
        image: uint8 RGB `(H, W, 3)`.
        similarity: S `(h w, r)` of that image.
        size: (h, w).
        queries: how many; at most r.
    """
    share = similarity.mean(0)  # (r,)
    most_used = np.argsort(-share, kind="stable")[:queries]
    small = panel(image, TILE_WIDTH, round(TILE_WIDTH * image.shape[0] / image.shape[1]))
    tiles = []
    for query in most_used:
        attention = similarity[:, query].reshape(size)
        title = f"query {query}: {share[query]:.1%}, peak {attention.max():.2f}"
        tiles.append(titled(_heat(small, attention), title, BLACK))
    return grid(tiles, min(COLUMNS, len(tiles)), ground=BLACK)


def query_colors(queries: int) -> np.ndarray:
    """Return a colour for each query, uint8 RGB `(r, 3)`, neighbours far apart."""
    hue, saturation, value = np.outer(_STEPS, np.arange(queries)) % 1
    hsv = np.stack([180 * hue, 120 + 136 * saturation, 100 + 156 * value], 1).astype(np.uint8)  # OpenCV's hue: 0..179
    colors: np.ndarray = cv2.cvtColor(hsv[None], cv2.COLOR_HSV2RGB)[0]
    return colors


def _heat(image: np.ndarray, attention: np.ndarray) -> np.ndarray:
    """Return the image with attention painted over it, from none to the brightest cell's."""
    relative = (255 * attention / max(float(attention.max()), 1e-12)).astype(np.uint8)
    large = cv2.resize(relative, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    heat: np.ndarray = cv2.addWeighted(_gray(image), 0.3, heat_map(large), 0.8, 0)
    return heat


def _gray(image: np.ndarray) -> np.ndarray:
    """Return the image without its colours, so that colour says attention alone."""
    gray: np.ndarray = cv2.cvtColor(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    return gray
