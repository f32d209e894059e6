"""How steady predictions are from frame to frame: what can be judged without ground truth."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

WIDTH = 320
"""Of the images that are compared, pixels."""
MOST_APART_NS = 10**9
BRIGHTNESS_TOLERANCE = 20
"""A pixel that changes by more, of 255, was hidden or is lit differently: its label may change."""
LEAST_SHARE = 0.1


class _Seen(NamedTuple):
    stamp_ns: int
    gray: np.ndarray
    prediction: np.ndarray


class TemporalConsistency:
    """The share of pixels that keep their label along their motion from one frame to the next.

    Motion is dense optical flow (DIS, Kroeger et al., ECCV 2016) on images of 320 pixels' width. Pixels that leave the
    picture, or whose brightness shows that they were hidden, do not count (as in Lai et al., ECCV 2018, Eq. 1).
    """

    def __init__(self) -> None:
        self._flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._before: _Seen | None = None

    def __call__(self, stamp_ns: int, image: np.ndarray, prediction: np.ndarray) -> float | None:
        """Add a frame, uint8 RGB `(H, W, 3)` and its prediction `(H, W)`, and compare it with the one before.

        Returns 0 to 1, or None for the first frame, after a gap of more than a second, and where hardly a pixel can be
        followed.
        """
        size = (WIDTH, max(16, round(WIDTH * image.shape[0] / image.shape[1])))
        gray = cv2.cvtColor(cv2.resize(image, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2GRAY)
        seen = _Seen(stamp_ns, gray, cv2.resize(prediction, size, interpolation=cv2.INTER_NEAREST))
        before, self._before = self._before, seen
        if before is None or before.gray.shape != gray.shape or not 0 < stamp_ns - before.stamp_ns <= MOST_APART_NS:
            return None
        return self._compare(before, seen)

    def _compare(self, before: _Seen, now: _Seen) -> float | None:
        height, width = now.gray.shape
        start = np.zeros((height, width, 2), np.float32)
        flow = np.asarray(self._flow.calc(now.gray, before.gray, start))  # (H, W, 2): where each pixel of now was
        columns, rows = np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32))
        x, y = columns + flow[..., 0], rows + flow[..., 1]
        inside = (x >= 0) & (x <= width - 1) & (y >= 0) & (y <= height - 1)
        gray = cv2.remap(before.gray, x, y, cv2.INTER_LINEAR)
        prediction = cv2.remap(before.prediction, x, y, cv2.INTER_NEAREST)
        followed = inside & (cv2.absdiff(gray, now.gray) <= BRIGHTNESS_TOLERANCE)
        if followed.mean() < LEAST_SHARE:
            return None
        return float((prediction == now.prediction)[followed].mean())
