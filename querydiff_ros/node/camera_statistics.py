"""What became of a camera's frames."""

from __future__ import annotations

import enum
import threading
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np


class Outcome(enum.Enum):
    """Where a frame can end, and `RECEIVED`, where all that reach the node begin; the value is its diagnostics key."""

    RECEIVED = "frames_received"
    LABELLED = "frames_labelled"
    DROPPED = "frames_dropped"
    """Replaced by a newer one before the engine was free, or came after it by the other transport."""
    STALE = "frames_stale"
    """Older than `max_age` when its turn came."""
    REJECTED = "frames_rejected"
    """Not readable as an image."""
    FAILED = "frames_failed"
    """The engine raised."""
    LOST = "frames_lost"
    """Sent, but never handed to the node by the middleware."""


@dataclass(frozen=True)
class CameraReport:
    """One look at `CameraStatistics`: counts since the start, latencies of the last frames as (p50, p99) in ms.

    `new`: counts since the report before. `rate`: labels a second since then. NaN where there is nothing to measure.
    """

    counts: Mapping[Outcome, int]
    new: Mapping[Outcome, int]
    rate: float
    latency_from_stamp: tuple[float, float]
    latency_from_arrival: tuple[float, float]
    mean_confidence: float
    last_rejection: str


class CameraStatistics:
    """Count the outcomes of one camera's frames; safe to write from several threads and read from another."""

    def __init__(self, window: int = 300):
        self._lock = threading.Lock()
        self._counts: Counter[Outcome] = Counter()
        self._reported: Counter[Outcome] = Counter()
        self._reported_at = time.monotonic()
        self._last_rejection = ""
        self._latest: deque[tuple[float, float, float]] = deque(maxlen=window)

    def count(self, outcome: Outcome, frames: int = 1) -> None:
        """Add `frames` to `outcome`."""
        with self._lock:
            self._counts[outcome] += frames

    def total(self, outcome: Outcome) -> int:
        """Return how many frames had `outcome` so far."""
        with self._lock:
            return self._counts[outcome]

    def reject(self, reason: str) -> None:
        """Count a frame that cannot be read, and keep the reason."""
        with self._lock:
            self._counts[Outcome.REJECTED] += 1
            self._last_rejection = reason

    def label(self, from_stamp: float, from_arrival: float, mean_confidence: float) -> None:
        """Count a label published `from_stamp` and `from_arrival` seconds after these; confidence from 0 to 1."""
        with self._lock:
            self._counts[Outcome.LABELLED] += 1
            self._latest.append((from_stamp, from_arrival, mean_confidence))

    def report(self) -> CameraReport:
        """Return what happened so far, and begin the next interval."""
        with self._lock:
            now, counts = time.monotonic(), Counter(self._counts)
            new = counts - self._reported
            elapsed, self._reported, self._reported_at = now - self._reported_at, counts, now
            columns = list(zip(*self._latest, strict=True)) or [(), (), ()]
            rejection = self._last_rejection
        return CameraReport(
            counts=counts,
            new=new,
            rate=new[Outcome.LABELLED] / elapsed if elapsed > 0 else float("nan"),
            latency_from_stamp=_percentiles_ms(columns[0]),
            latency_from_arrival=_percentiles_ms(columns[1]),
            mean_confidence=float(np.mean(columns[2])) if columns[2] else float("nan"),
            last_rejection=rejection,
        )


def _percentiles_ms(seconds: Sequence[float]) -> tuple[float, float]:
    if not seconds:
        return float("nan"), float("nan")
    p50, p99 = np.percentile(seconds, (50, 99)) * 1000
    return float(p50), float(p99)
