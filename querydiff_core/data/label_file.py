"""Read label images as they are stored: PNGs with a palette as indices, not as the colours they stand for."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError, explained

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_HEADER_LENGTH = 26
PNG_GREY, PNG_PALETTE = 0, 3


def read_label_file(file: Path) -> np.ndarray:
    """Return the stored values: uint8 or uint16 `(H, W)`, or `(H, W, C)` with C = 3 (RGB) or 4 (RGBA).

    Raises:
        QueryDiffError: if the file cannot be decoded.
    """
    depth, color = _png_depth_and_color(file)
    if color == PNG_PALETTE:
        return _read_indices(file)
    stored = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if stored is None or stored.dtype not in (np.uint8, np.uint16):
        raise QueryDiffError(f"{file} cannot be decoded as an image: it is damaged or of an unknown format.")
    if color == PNG_GREY and depth < 8:  # OpenCV spreads 1, 2 and 4 bits over 0 to 255
        stored = stored // (255 // (2**depth - 1))
    if stored.ndim == 3:  # OpenCV's order is blue, green, red
        stored = stored[..., [2, 1, 0, 3][: stored.shape[2]]]
    return np.asarray(stored)


def _png_depth_and_color(file: Path) -> tuple[int, int]:
    """Return bits per channel and the PNG colour type; (0, -1) for what is no PNG."""
    with explained(f"{file} cannot be read: {{reason}}.", OSError), file.open("rb") as stream:
        header = stream.read(PNG_HEADER_LENGTH)
    if len(header) < PNG_HEADER_LENGTH or not header.startswith(PNG_SIGNATURE):
        return 0, -1
    return header[24], header[25]


def _read_indices(file: Path) -> np.ndarray:
    """Read a PNG with a palette with Pillow: OpenCV would return colours."""
    with explained(f"{file} is a PNG with a palette, which needs Pillow: pip install pillow.", ImportError):
        from PIL import Image
    broken = f"{file} cannot be decoded as an image: {{reason}}."
    with explained(broken, OSError, SyntaxError, ValueError), Image.open(file) as image:  # SyntaxError: of PNG chunks
        return np.asarray(image, np.uint8)
