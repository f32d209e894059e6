"""Look at a large image through overlapping windows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from querydiff_core.errors import QueryDiffError

Infer = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


@dataclass(frozen=True)
class SlidingWindow:
    """Windows of `window` (height, width) pixels every `stride` pixels; the last ones end at the image's edge.

    Engines return labels and confidence, not probabilities, so where windows overlap the more confident label wins
    (the paper averages probabilities); that keeps every engine's interface at uint8.
    """

    window: tuple[int, int]
    stride: tuple[int, int]

    @classmethod
    def of(cls, window: int | tuple[int, int] | None, stride: int | tuple[int, int] | None) -> SlidingWindow | None:
        """Return the sliding window that a user's options mean, or None for the whole image.

        Raises:
            QueryDiffError: unless 0 < stride <= window.
        """
        if window is None:
            if stride is not None:
                raise QueryDiffError("stride needs a window: give both, or neither for the whole image.")
            return None
        height, width = (window, window) if isinstance(window, int) else window
        default = (max(1, height * 2 // 3), max(1, width * 2 // 3))
        rows, columns = default if stride is None else (stride, stride) if isinstance(stride, int) else stride
        if not (0 < rows <= height and 0 < columns <= width):
            raise QueryDiffError(f"stride must be 1 to the window's {height}x{width}, found {rows}x{columns}.")
        return cls((height, width), (rows, columns))

    def __call__(self, infer: Infer, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence uint8 `(B, H, W)` of `images` `(B, H, W, 3)`, one window at a time."""
        _, height, width, _ = images.shape
        labels = np.full(images.shape[:3], 255, np.uint8)
        confidence = np.zeros(images.shape[:3], np.uint8)
        for top, left in self.places(height, width):
            place = np.s_[:, top : top + self.window[0], left : left + self.window[1]]
            seen, certain = infer(images[place])
            assert certain is not None  # engines without a confidence get no window
            better = (certain > confidence[place]) | (labels[place] == 255)
            np.copyto(labels[place], seen, where=better)
            np.copyto(confidence[place], certain, where=better)
        return labels, confidence

    def places(self, height: int, width: int) -> Iterator[tuple[int, int]]:
        """Yield top and left of each window in an image of that size."""
        for top in _starts(height, self.window[0], self.stride[0]):
            for left in _starts(width, self.window[1], self.stride[1]):
                yield top, left


def _starts(length: int, window: int, stride: int) -> list[int]:
    last = max(0, length - window)
    return [*range(0, last, stride), last]
