"""Read the size of an image from the head of its file."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.errors import QueryDiffError


def image_size(file: Path) -> tuple[int, int]:
    """Return (height, width) in pixels as stored; the image is not decoded.

    Raises:
        QueryDiffError: if the file is no image.
    """
    from PIL import Image

    try:
        with Image.open(file) as image:
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        raise QueryDiffError(f"{file} cannot be decoded as an image: it is damaged or of an unknown format.") from error
