"""What several commands read from an argument's text."""

from __future__ import annotations

import argparse

from querydiff_core.errors import QueryDiffError


def image_size(text: str) -> tuple[int, int]:
    """Return (height, width) of `text` such as 256x512, both at least 32: the coarsest stride of the networks.

    Raises:
        QueryDiffError: if `text` is anything else.
    """
    height, cross, width = text.lower().partition("x")
    if not (cross and height.isdecimal() and width.isdecimal() and min(int(height), int(width)) >= 32):
        raise QueryDiffError(
            f"The size must be HEIGHTxWIDTH of at least 32 pixels each, such as 256x512, found {text!r}."
        )
    return int(height), int(width)


def image_sizes(text: str) -> list[tuple[int, int]]:
    """Return the different sizes in `text` such as 192x384,256x512.

    Raises:
        QueryDiffError: as `image_size`.
    """
    return list(dict.fromkeys(map(image_size, text.split(","))))


def not_negative(text: str) -> float:
    """Return the number `text`, which must be finite and 0 or more."""
    value = float(text)
    if not 0 <= value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be 0 or more, found {text}")
    return value


def positive(text: str) -> float:
    """Return the number `text`, which must be finite and above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, found {text}")
    return value


def count(text: str) -> int:
    """Return the whole number `text`, which must be 0 or more."""
    if not text.isdigit():
        raise argparse.ArgumentTypeError(f"must be a number of 0 or more, found {text}")
    return int(text)
