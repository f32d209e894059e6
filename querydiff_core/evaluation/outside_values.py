"""Label values that a mapping does not have, as an evaluation meets them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection
from pathlib import Path

from querydiff_core.data.label_decoder import SHOWN_VALUES


class OutsideValues:
    """Count images by value outside the map; they are unlabelled, and whoever chose the mapping should know.

    Values that the mapping lists as `unlabelled` are inside the map, and so is 255.
    """

    def __init__(self) -> None:
        self._images: Counter[str] = Counter()
        self._files = 0
        self._first: Path | None = None

    def add(self, outside: Collection[str], file: Path) -> None:
        """Add the values outside the map that one label file holds."""
        if outside:
            self._images.update(outside)
            self._files += 1
            self._first = self._first or file

    def __str__(self) -> str:
        """Say which values in how many images, and the first file; empty if there are none."""
        if not self._files:
            return ""
        shown = [f"{value} in {_images(count)}" for value, count in self._images.most_common(SHOWN_VALUES)]
        more = len(self._images) - len(shown)
        return f"{', '.join(shown)}{f' and {more} more values' if more else ''}; first in {self._first}"


def _images(count: int) -> str:
    return f"{count} image{'' if count == 1 else 's'}"
