"""Pair frames with the ground truth nearest in time while both stream by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Frame = TypeVar("Frame")
GroundTruth = TypeVar("GroundTruth")

PATIENCE_NS = 10**9
"""How long after a frame its ground truth may have been recorded."""
MOST_WAITING = 32
"""Frames that may wait for their ground truth: they are whole images."""


@dataclass(frozen=True)
class _Waiting(Generic[Frame]):
    stamp_ns: int
    time_ns: int
    frame: Frame


class StampPairing(Generic[Frame, GroundTruth]):
    """Give each frame the ground truth nearest in time, and each ground truth to one frame at most.

    A ground truth is taken within `tolerance_ns` of the frame's stamp and only by the frame that it is nearest to.
    Both kinds are added in the order of their stamps. Frames wait until the ground truths around them are known, but
    not longer than `PATIENCE_NS` of the bag's time, and never more than `MOST_WAITING` of them.
    """

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance = tolerance_ns
        self._frames: deque[_Waiting[Frame]] = deque()
        self._ground_truths: deque[tuple[int, GroundTruth]] = deque()

    def add_frame(self, stamp_ns: int, time_ns: int, frame: Frame) -> None:
        """Add a frame stamped `stamp_ns` and recorded at `time_ns`."""
        self._frames.append(_Waiting(stamp_ns, time_ns, frame))

    def add_ground_truth(self, stamp_ns: int, ground_truth: GroundTruth) -> None:
        """Add a ground truth stamped `stamp_ns`."""
        self._ground_truths.append((stamp_ns, ground_truth))

    def ready(self, time_ns: int) -> Iterator[tuple[Frame, GroundTruth | None]]:
        """Yield, in order, the frames whose ground truth is known at `time_ns` of the bag or will not come any more."""
        while self._frames and self._is_decided(time_ns):
            yield self._next()

    def rest(self) -> Iterator[tuple[Frame, GroundTruth | None]]:
        """Yield the frames that still wait: the bag has ended."""
        while self._frames:
            yield self._next()

    def _is_decided(self, time_ns: int) -> bool:
        stamp, recorded = self._frames[0].stamp_ns, self._frames[0].time_ns
        if any(ground_truth_stamp == stamp for ground_truth_stamp, _ in self._ground_truths):
            return True
        if len(self._frames) > MOST_WAITING or time_ns - recorded > PATIENCE_NS + self._tolerance:
            return True
        past = bool(self._ground_truths) and self._ground_truths[-1][0] > stamp + self._tolerance
        return past and len(self._frames) > 1  # the next frame may be nearer to a ground truth than this one

    def _next(self) -> tuple[Frame, GroundTruth | None]:
        waiting = self._frames.popleft()
        stamp, frame = waiting.stamp_ns, waiting.frame
        while self._ground_truths and self._ground_truths[0][0] < stamp - self._tolerance:
            self._ground_truths.popleft()
        near = [index for index, (other, _) in enumerate(self._ground_truths) if abs(other - stamp) <= self._tolerance]
        if not near:
            return frame, None
        best = min(near, key=lambda index: abs(self._ground_truths[index][0] - stamp))
        ground_truth_stamp, ground_truth = self._ground_truths[best]
        if self._frames and abs(self._frames[0].stamp_ns - ground_truth_stamp) < abs(stamp - ground_truth_stamp):
            return frame, None
        for _ in range(best + 1):
            self._ground_truths.popleft()
        return frame, ground_truth
