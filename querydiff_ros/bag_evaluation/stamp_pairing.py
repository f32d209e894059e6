"""Pair frames with the ground truth nearest in time while both stream by."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

Frame = TypeVar("Frame")
GroundTruth = TypeVar("GroundTruth")
Image = TypeVar("Image")

PATIENCE_NS = 10 * 10**9
"""How long after a frame its ground truth may have been recorded, and the other way round."""
MOST_BYTES = 2**29
"""Of the frames that wait for their ground truth, and of the ground truths; a second of raw 1080p at 60 Hz is less."""
ALWAYS_WAITING = 32
"""Frames that may wait whatever their size, and ground truths that may wait longer, too.

Video decoders hold up to 16 frames back, however slowly they come.
"""


@dataclass(frozen=True)
class _Waiting(Generic[Image]):
    stamp_ns: int
    time_ns: int
    image: Image
    size: int


class StampPairing(Generic[Frame, GroundTruth]):
    """Give each frame the ground truth nearest in time, and each ground truth to one frame at most.

    A ground truth is taken within `tolerance_ns` of the frame's stamp and only by the frame that it is nearest to.
    Both kinds are added in the order of their stamps. Frames wait until the ground truths around them are known, but
    not longer than `PATIENCE_NS` of the bag's time, and no more than `MOST_BYTES` of them or `ALWAYS_WAITING`. Where no
    frames come, ground truths are dropped that are older or more than that, but for the newest `ALWAYS_WAITING`.
    """

    def __init__(self, tolerance_ns: int) -> None:
        self._tolerance = tolerance_ns
        self._frames: deque[_Waiting[Frame]] = deque()
        self._ground_truths: deque[_Waiting[GroundTruth]] = deque()

    def add_frame(self, stamp_ns: int, time_ns: int, frame: Frame, size: int) -> None:
        """Add a frame of `size` bytes, stamped `stamp_ns` and recorded at `time_ns`."""
        self._frames.append(_Waiting(stamp_ns, time_ns, frame, size))

    def add_ground_truth(self, stamp_ns: int, time_ns: int, ground_truth: GroundTruth, size: int) -> None:
        """Add a ground truth of `size` bytes, stamped `stamp_ns` and recorded at `time_ns`."""
        self._ground_truths.append(_Waiting(stamp_ns, time_ns, ground_truth, size))

    def ready(self, time_ns: int) -> Iterator[tuple[Frame, GroundTruth | None]]:
        """Yield, in order, the frames whose ground truth is known at `time_ns` of the bag or will not come any more."""
        while self._frames and self._is_decided(time_ns):
            yield self._next()
        if not self._frames:
            self._drop_overdue(time_ns)

    def rest(self) -> Iterator[tuple[Frame, GroundTruth | None]]:
        """Yield the frames that still wait: the bag has ended."""
        while self._frames:
            yield self._next()

    def _is_decided(self, time_ns: int) -> bool:
        stamp = self._frames[0].stamp_ns
        if any(each.stamp_ns == stamp for each in self._ground_truths):
            return True
        if _are_too_many(self._frames) or self._is_overdue(self._frames[0], time_ns):
            return True
        past = bool(self._ground_truths) and self._ground_truths[-1].stamp_ns > stamp + self._tolerance
        return past and len(self._frames) > 1  # the next frame may be nearer to a ground truth than this one

    def _is_overdue(self, waiting: _Waiting[Any], time_ns: int) -> bool:
        return time_ns - waiting.time_ns > PATIENCE_NS + self._tolerance

    def _drop_overdue(self, time_ns: int) -> None:
        while len(waiting := self._ground_truths) > ALWAYS_WAITING and (
            self._is_overdue(waiting[0], time_ns) or _are_too_many(waiting)
        ):
            waiting.popleft()

    def _next(self) -> tuple[Frame, GroundTruth | None]:
        waiting = self._frames.popleft()
        stamp, frame = waiting.stamp_ns, waiting.image
        while self._ground_truths and self._ground_truths[0].stamp_ns < stamp - self._tolerance:
            self._ground_truths.popleft()
        apart = [abs(each.stamp_ns - stamp) for each in self._ground_truths]
        if not apart or min(apart) > self._tolerance:
            return frame, None
        best = apart.index(min(apart))
        ground_truth = self._ground_truths[best]
        if self._frames and abs(self._frames[0].stamp_ns - ground_truth.stamp_ns) < apart[best]:
            return frame, None
        for _ in range(best + 1):
            self._ground_truths.popleft()
        return frame, ground_truth.image


def _are_too_many(waiting: deque[_Waiting[Any]]) -> bool:
    return len(waiting) > ALWAYS_WAITING and sum(each.size for each in waiting) > MOST_BYTES
