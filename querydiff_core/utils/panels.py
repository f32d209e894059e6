"""Draw the parts that the demo's pictures share: panels, captions and the legend, on a dark ground."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.label_space import LabelSpace

GROUND = (22, 25, 30)
TEXT = (235, 238, 242)
MUTED = (150, 158, 170)
LEGEND_ROW = 26
LEGEND_COLUMN = 128


def blank(height: int, width: int) -> np.ndarray:
    """Return an empty picture, uint8 RGB `(height, width, 3)`."""
    return np.full((height, width, 3), GROUND, np.uint8)


def write(
    picture: np.ndarray, text: str, at: tuple[int, int], *, scale: float = 0.5, bold: bool = False, muted: bool = False
) -> int:
    """Write `text` with its baseline beginning `at` (x, y), and return the x where it ends."""
    font = cv2.FONT_HERSHEY_DUPLEX if bold else cv2.FONT_HERSHEY_SIMPLEX
    cv2.putText(picture, text, at, font, scale, MUTED if muted else TEXT, 1, cv2.LINE_AA)
    return at[0] + int(cv2.getTextSize(text, font, scale, 1)[0][0])


def paste(picture: np.ndarray, panel: np.ndarray, box: tuple[int, int, int, int], caption: str = "") -> None:
    """Put `panel`, uint8 RGB, into `box` (x, y, width, height) of `picture`, with a caption in its corner."""
    x, y, width, height = box
    shrinks = width * height < panel.shape[0] * panel.shape[1]
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    target = picture[y : y + height, x : x + width]
    target[:] = cv2.resize(panel, (width, height), interpolation=how)
    if caption:
        wide = cv2.getTextSize(caption, cv2.FONT_HERSHEY_SIMPLEX, 0.45, 1)[0][0] + 16
        target[:24, :wide] = target[:24, :wide] // 4 + np.array(GROUND, np.uint8) // 4 * 3
        write(target, caption, (8, 17), scale=0.45)


def legend(width: int, label_space: LabelSpace) -> np.ndarray:
    """Return the classes with their colours in rows over `width` pixels, uint8 RGB `(rows, width, 3)`."""
    columns = max(1, width // LEGEND_COLUMN)
    columns = -(-len(label_space) // -(-len(label_space) // columns))  # rows of equal length
    picture = blank(-(-len(label_space) // columns) * LEGEND_ROW, width)
    for index, (name, color) in enumerate(zip(label_space.names, label_space.palette, strict=True)):
        x, y = index % columns * (width // columns), index // columns * LEGEND_ROW
        cv2.rectangle(picture, (x, y + 6), (x + 18, y + 20), color, cv2.FILLED)
        write(picture, name, (x + 26, y + 18), scale=0.45)
    return picture


def percent(share: float | None) -> str:
    """Return a share of 0 to 1 as text."""
    return "-" if share is None else f"{100 * share:.1f} %"
