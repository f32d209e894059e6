"""Draw what a data check found: class frequencies as bars, and samples with their labels laid over them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np

from querydiff_core.data.check_report import share
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.pairing import Pair
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.image_files import read_image
from querydiff_core.utils.overlay import overlay

FONT = cv2.FONT_HERSHEY_SIMPLEX
BLACK, GREY = (30, 30, 30), (215, 215, 215)
ROW, LEFT, WIDTH, TOP, RIGHT = 30, 150, 640, 70, 80  # pixels of the bar chart
SMALLEST = 1e-5  # share at the left end of the logarithmic axis: 0.001 %
TILE_HEIGHT, WIDEST = 240, 480  # pixels; samples are fitted into what the first of them needs
SAMPLES = 6


def bar_chart(class_pixels: np.ndarray, title: str) -> np.ndarray:
    """Return the shares of the classes as bars on a logarithmic axis, uint8 RGB `(H, W, 3)`.

    `class_pixels`: `(19,)`.
    """
    names, palette = cityscapes().names, cityscapes().palette
    canvas = np.full((TOP + ROW * len(names) + 20, LEFT + WIDTH + RIGHT, 3), 255, np.uint8)
    _write(canvas, title, (12, 28), 0.6)
    _draw_axis(canvas)
    for index, (name, color) in enumerate(zip(names, palette, strict=True)):
        top = TOP + index * ROW
        part = class_pixels[index] / max(class_pixels.sum(), 1)
        end = LEFT + _position(part)
        _write(canvas, name, (12, top + 20))
        cv2.rectangle(canvas, (LEFT, top + 4), (end, top + ROW - 4), color, cv2.FILLED)
        _write(canvas, f"{share(part, 1)} %" if part else "none", (end + 6, top + 20))
    return canvas


def sample_sheet(pairs: Sequence[Pair], decoder: LabelDecoder) -> np.ndarray | None:
    """Return a few images beside themselves with their labels laid over, uint8 RGB; None if none has labels."""
    chosen = [pair for pair in pairs if pair.labels is not None]
    if not chosen:
        return None
    positions = np.linspace(0, len(chosen) - 1, min(SAMPLES, len(chosen))).round().astype(int)
    samples = [_read(chosen[position], decoder) for position in positions]
    height, width = samples[0].image.shape[:2]
    tile = TILE_HEIGHT, max(1, min(WIDEST, round(width * TILE_HEIGHT / height)))
    rows = [_row(sample, tile) for sample in samples]
    if len(rows) > 1 and len(rows) % 2:
        rows.append(np.full_like(rows[0], 255))
    columns = 2 if len(rows) > 1 else 1
    return np.vstack([np.hstack(rows[i : i + columns]) for i in range(0, len(rows), columns)])


class _Sample(NamedTuple):
    name: str
    image: np.ndarray
    labels: np.ndarray


def _read(pair: Pair, decoder: LabelDecoder) -> _Sample:
    assert pair.labels is not None
    return _Sample(pair.image.name, read_image(pair.image), decoder.decode(pair.labels).train_ids)


def _row(sample: _Sample, tile: tuple[int, int]) -> np.ndarray:
    painted = overlay(sample.image, sample.labels, cityscapes(), 0.6)
    caption = np.full((24, 2 * tile[1], 3), 255, np.uint8)
    _write(caption, sample.name, (4, 17))
    return np.vstack([caption, np.hstack([_fitted(picture, tile) for picture in (sample.image, painted)])])


def _fitted(image: np.ndarray, tile: tuple[int, int]) -> np.ndarray:
    """Scale `image` into a `tile` (height, width), white around it."""
    scale = min(tile[0] / image.shape[0], tile[1] / image.shape[1])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    fitted = np.full((*tile, 3), 255, np.uint8)
    fitted[: size[1], : size[0]] = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    return fitted


def _draw_axis(canvas: np.ndarray) -> None:
    for power in range(round(np.log10(SMALLEST)), 1):
        x = LEFT + _position(10.0**power)
        cv2.line(canvas, (x, TOP - 6), (x, canvas.shape[0] - 16), GREY, 1)
        _write(canvas, f"{100 * 10.0**power:g} %", (x - 16, TOP - 12), 0.4)


def _position(part: float) -> int:
    """Return the length of a bar in pixels."""
    if part <= SMALLEST:
        return 0
    return round(WIDTH * float(1 - np.log10(part) / np.log10(SMALLEST)))


def _write(canvas: np.ndarray, text: str, at: tuple[int, int], size: float = 0.45) -> None:
    cv2.putText(canvas, text, at, FONT, size, BLACK, 1, cv2.LINE_AA)
