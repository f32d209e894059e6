"""The HxW option that several subcommands share."""

from __future__ import annotations

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
