"""Lay pictures out side by side, with captions, titles and the legend of the classes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from querydiff_core.label_space import LabelSpace

Color = tuple[int, int, int]
DARK, WHITE = (22, 25, 30), (255, 255, 255)
"""Grounds."""
LIGHT, MUTED, INK = (235, 238, 242), (150, 158, 170), (30, 30, 30)
"""Letters: the first two on a dark ground, the third on a light one."""
LEGEND_ROW, LEGEND_COLUMN = 26, 128


def blank(height: int, width: int, ground: Color = DARK) -> np.ndarray:
    """Return an empty picture, uint8 RGB `(height, width, 3)`."""
    return np.full((height, width, 3), ground, np.uint8)


def write(
    picture: np.ndarray, text: str, at: tuple[int, int], *, scale: float = 0.5, bold: bool = False, ink: Color = LIGHT
) -> int:
    """Write `text` with its baseline beginning `at` (x, y), and return the x where it ends."""
    cv2.putText(picture, _ascii(text), at, _font(bold), scale, ink, 1, cv2.LINE_AA)
    return at[0] + text_width(text, scale, bold)


def text_width(text: str, scale: float = 0.5, bold: bool = False) -> int:
    """Return how many pixels wide `write` makes `text`."""
    return int(cv2.getTextSize(_ascii(text), _font(bold), scale, 1)[0][0])


def panel(picture: np.ndarray, width: int, height: int, caption: str = "") -> np.ndarray:
    """Return `picture`, uint8 RGB, resized to `(height, width, 3)`, with `caption` in its upper left corner."""
    shrinks = width * height < picture.shape[0] * picture.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    resized: np.ndarray = cv2.resize(picture, (width, height), interpolation=how)
    if caption:
        corner = resized[:24, : text_width(caption, 0.45) + 16]
        corner[:] = corner // 4 + np.array(DARK, np.uint8) // 4 * 3
        write(resized, caption, (8, 17), scale=0.45)
    return resized


def fitted(picture: np.ndarray, width: int, height: int, ground: Color = WHITE) -> np.ndarray:
    """Return `picture` as large as it fits into `(height, width, 3)` without distortion, `ground` right and below."""
    scale = min(width / picture.shape[1], height / picture.shape[0])
    inner = panel(picture, max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale)))
    tile = blank(height, width, ground)
    tile[: inner.shape[0], : inner.shape[1]] = inner
    return tile


def titled(tile: np.ndarray, title: str, ground: Color = WHITE, height: int = 26) -> np.ndarray:
    """Return `tile` below a strip of `height` pixels with `title`, in smaller letters or shortened if it is long."""
    strip = blank(height, tile.shape[1], ground)
    room = tile.shape[1] - 8
    scale = max(0.35, min(0.5, 0.5 * room / max(1, text_width(title))))
    while title and text_width(title, scale) > room:
        title = title.rstrip(".")[:-1] + "..." if len(title) > 4 else ""
    write(strip, title, (4, height // 2 + 5), scale=scale, ink=INK if sum(ground) > sum(MUTED) else LIGHT)
    return np.concatenate([strip, tile])


def grid(tiles: Sequence[np.ndarray], columns: int, gap: int = 0, ground: Color = WHITE) -> np.ndarray:
    """Return tiles of equal size in rows of `columns`, `gap` pixels of `ground` between them."""
    height, width = tiles[0].shape[:2]
    rows = -(-len(tiles) // columns)
    sheet = blank(rows * (height + gap) - gap, columns * (width + gap) - gap, ground)
    for index, tile in enumerate(tiles):
        y, x = index // columns * (height + gap), index % columns * (width + gap)
        sheet[y : y + height, x : x + width] = tile
    return sheet


def framed(picture: np.ndarray, above: int, below: int, sides: int, ground: Color = DARK) -> np.ndarray:
    """Return `picture` with so many pixels of `ground` around it."""
    wide: np.ndarray = cv2.copyMakeBorder(picture, above, below, sides, sides, cv2.BORDER_CONSTANT, value=ground)
    return wide


def legend(width: int, label_space: LabelSpace) -> np.ndarray:
    """Return the classes with their colours in rows over `width` pixels, uint8 RGB `(rows, width, 3)`."""
    columns = max(1, width // LEGEND_COLUMN)
    columns = -(-len(label_space) // -(-len(label_space) // columns))  # rows of equal length
    tiles = []
    for name, color in zip(label_space.names, label_space.palette, strict=True):
        tiles.append(blank(LEGEND_ROW, width // columns))
        tiles[-1][6:21, :19] = color
        write(tiles[-1], name, (26, 18), scale=0.45)
    classes = grid(tiles, columns, ground=DARK)
    return np.concatenate([classes, blank(len(classes), width - classes.shape[1])], 1)


def _font(bold: bool) -> int:
    return cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX


def _ascii(text: str) -> str:
    """Return `text` in the only letters that OpenCV's fonts hold."""
    return text.encode("ascii", "replace").decode()
