"""Read and write image files: RGB in memory, complete files on disk."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.atomic_file import atomic_file


def read_image(path: Path) -> np.ndarray:
    """Return the image as uint8 RGB `(H, W, 3)`, as stored: an orientation tag is ignored.

    Raises:
        QueryDiffError: if the file cannot be decoded.
    """
    pixels = cv2.imread(str(path), cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION)
    if pixels is None:
        raise QueryDiffError(f"{path} cannot be decoded as an image: it is damaged or of an unknown format.")
    rgb: np.ndarray = cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB)
    return rgb


def stored_size(path: Path) -> tuple[int, int]:
    """Return (height, width) in pixels from the head of an image's file, which is not decoded.

    Raises:
        QueryDiffError: if the file is no image.
    """
    from PIL import Image

    broken = f"{path} cannot be decoded as an image: it is damaged or of an unknown format."
    with explained(broken, OSError, SyntaxError, ValueError), Image.open(path) as image:  # SyntaxError: of PNG chunks
        return image.height, image.width


def encode_jpeg(image: np.ndarray, quality: int = 95) -> np.ndarray:
    """Return uint8 RGB `image` `(H, W, 3)` as the bytes of a JPEG file, uint8 `(N,)`."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return np.asarray(data, np.uint8).reshape(-1)


def write_image(path: Path, image: np.ndarray, jpeg_quality: int = 92) -> None:
    """Write uint8 labels `(H, W)` or RGB `(H, W, 3)` in the format that the suffix names, completely or not at all."""
    pixels = image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_RGB2BGR)
    options = [cv2.IMWRITE_JPEG_QUALITY, jpeg_quality] if path.suffix.lower() in (".jpg", ".jpeg") else []
    with atomic_file(path) as temporary:
        if not cv2.imwrite(str(temporary), pixels, options):
            raise QueryDiffError(f"Cannot write {path}: unknown image format or a full disk.")
