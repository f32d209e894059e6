"""Read label images as they are stored: PNGs with a palette as indices, not as the colours they stand for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.image_files import PNG_SIGNATURE, decode, opened, read_bytes

PNG_HEADER_LENGTH = 26
PNG_GREY, PNG_PALETTE = 0, 3


def read_label_file(file: Path) -> np.ndarray:
    """Return the stored values: uint8 or uint16 `(H, W)`, or `(H, W, C)` with C = 3 (RGB) or 4 (RGBA).

    Raises:
        QueryDiffError: if the file cannot be read or decoded, or its values have more than 16 bits.
    """
    data = read_bytes(file)
    depth, color = _png_depth_and_color(data)
    if color == PNG_PALETTE:  # OpenCV would return colours
        with opened(file, data) as image:
            return np.asarray(image, np.uint8)
    stored, _ = decode(file, data, cv2.IMREAD_UNCHANGED)
    if stored.dtype not in (np.uint8, np.uint16):
        raise QueryDiffError(f"{file} holds values of type {stored.dtype}: expected labels of 8 or 16 bits.")
    if color == PNG_GREY and depth < 8:  # OpenCV spreads 1, 2 and 4 bits over 0 to 255
        stored = stored // (255 // (2**depth - 1))
    if stored.ndim == 3:  # OpenCV's order is blue, green, red
        stored = stored[..., [2, 1, 0, 3][: stored.shape[2]]]
    return stored


def _png_depth_and_color(data: bytes) -> tuple[int, int]:
    """Return bits per channel and the PNG colour type; (0, -1) for what is no PNG."""
    if len(data) < PNG_HEADER_LENGTH or not data.startswith(PNG_SIGNATURE):
        return 0, -1
    return data[24], data[25]
