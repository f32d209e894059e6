"""Draw what was measured over the time of a drive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

import cv2
import numpy as np

from querydiff_ros.bag_evaluation.frame_scores import FrameScore

WIDTH, STRIP, GAP = 1200, 170, 34
LEFT, RIGHT, TOP, BOTTOM = 80, 30, 78, 56
"""Margins in pixels."""
INK, FAINT, MUTED = (40, 40, 40), (222, 222, 222), (120, 120, 120)
BANDS = ((244, 247, 251), (251, 246, 239))
"""Grounds of the stretches of equal condition, in turn."""
STRIPS = (
    ("miou", "mIoU (window of 10 frames)", (31, 119, 180)),
    ("confidence", "mean confidence", (44, 140, 60)),
    ("consistency", "labels kept along their motion", (200, 90, 20)),
)


def over_time_plot(title: str, scores: Sequence[FrameScore]) -> np.ndarray:
    """Return the picture, uint8 RGB `(H, W, 3)`: a strip for each quantity that is known of some frame."""
    strips = [strip for strip in STRIPS if any(getattr(score, strip[0]) is not None for score in scores)]
    height = TOP + len(strips) * (STRIP + GAP) - GAP + BOTTOM
    canvas = np.full((height, WIDTH, 3), 255, np.uint8)
    times = np.array([score.stamp_ns - scores[0].stamp_ns for score in scores]) / 1e9
    axis = _TimeAxis(max(float(times.max()), 1e-3))
    _write(canvas, title, (LEFT, 30), 0.75)
    for index, (name, caption, color) in enumerate(strips):
        top = TOP + index * (STRIP + GAP)
        _draw_ground(canvas, axis, times, scores, top, name_them=index == 0)
        _draw_grid(canvas, axis, top)
        _draw_line(canvas, axis, times, [getattr(score, name) for score in scores], top, color)
        _write(canvas, caption, (LEFT + 8, top + STRIP - 10), 0.5, color)
    _draw_seconds(canvas, axis, height)
    return canvas


class _TimeAxis:
    """Seconds to pixels."""

    def __init__(self, longest: float) -> None:
        self.longest = longest
        step = longest / 10
        magnitude = 10.0 ** np.floor(np.log10(step))
        self.step = float(next(f * magnitude for f in (1, 2, 5, 10) if f * magnitude >= step))

    def x(self, seconds: float) -> int:
        return LEFT + round((WIDTH - LEFT - RIGHT) * float(seconds) / self.longest)

    @property
    def ticks(self) -> np.ndarray:
        return np.arange(0, self.longest * 1.0001, self.step)


def _draw_ground(
    canvas: np.ndarray, axis: _TimeAxis, times: np.ndarray, scores: Sequence[FrameScore], top: int, name_them: bool
) -> None:
    free_from = 0
    stretches = [list(some) for _, some in groupby(range(len(scores)), key=lambda index: scores[index].condition)]
    for number, stretch in enumerate(stretches):
        after = min(stretch[-1] + 1, len(times) - 1)
        left, right = axis.x(times[stretch[0]]), axis.x(times[after])
        canvas[top : top + STRIP, left : max(right, left + 1)] = BANDS[number % 2]
        name = scores[stretch[0]].condition
        if name_them and left >= free_from:  # short stretches: a name that would cover the last one is left out
            _write(canvas, name, (left + 2, top - 8), 0.5, MUTED)
            free_from = left + 12 + cv2.getTextSize(name, cv2.FONT_HERSHEY_SIMPLEX, 0.5, 1)[0][0]


def _draw_grid(canvas: np.ndarray, axis: _TimeAxis, top: int) -> None:
    for percent in (0, 25, 50, 75, 100):
        y = _y(percent / 100, top)
        cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), FAINT, 1)
        if percent % 50 == 0:
            _write(canvas, f"{percent} %", (LEFT - 62, y + 5), 0.45, MUTED)
    for seconds in axis.ticks:
        cv2.line(canvas, (axis.x(seconds), top), (axis.x(seconds), top + STRIP), FAINT, 1)


def _draw_line(
    canvas: np.ndarray,
    axis: _TimeAxis,
    times: np.ndarray,
    shares: Sequence[float | None],
    top: int,
    color: tuple[int, int, int],
) -> None:
    """Draw the known shares; where one is not known the line breaks."""
    for known, stretch in groupby(zip(times, shares, strict=True), key=lambda pair: pair[1] is not None):
        if not known:
            continue
        points = [(axis.x(time), _y(share, top)) for time, share in stretch if share is not None]
        if len(points) == 1:
            cv2.circle(canvas, points[0], 2, color, -1, cv2.LINE_AA)
        cv2.polylines(canvas, [np.array(points, np.int32)], False, color, 2, cv2.LINE_AA)


def _draw_seconds(canvas: np.ndarray, axis: _TimeAxis, height: int) -> None:
    for seconds in axis.ticks:
        _write(canvas, f"{seconds:g}", (axis.x(seconds) - 8, height - BOTTOM + 20), 0.45, MUTED)
    _write(canvas, "seconds of the drive", (WIDTH // 2 - 70, height - 12), 0.5)


def _y(share: float, top: int) -> int:
    return top + STRIP - round(STRIP * float(share))


def _write(
    canvas: np.ndarray, text: str, place: tuple[int, int], scale: float, color: tuple[int, int, int] = INK
) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
