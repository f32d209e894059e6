"""One thread between frames that arrive and an engine that may be slower than they are."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

Frame = TypeVar("Frame")

LOOK_PERIOD = 0.1
"""Seconds after which a changed least period holds at the latest."""


class LatestFrameWorker(Generic[Frame]):
    """Call `process` in one thread with the newest frame of every camera that has one.

    Nothing queues: a frame that still waits when the next of its camera arrives is replaced by it, so that a frame
    waits for at most the call under way when it came. `on_error` is told what `process` raises; the thread lives on.
    `min_period`: returns the least seconds between the starts of two calls.
    """

    def __init__(
        self,
        process: Callable[[Mapping[str, Frame]], None],
        on_error: Callable[[Exception], None],
        min_period: Callable[[], float] = lambda: 0.0,
    ):
        self._process = process
        self._on_error = on_error
        self._min_period = min_period
        self._waiting: dict[str, Frame] = {}
        self._changed = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="latest_frame_worker", daemon=True)

    def start(self) -> None:
        """Start the thread; once only."""
        self._thread.start()

    def offer(self, camera: str, frame: Frame) -> bool:
        """Make `frame` the next of `camera`; return whether an older one was waiting and is dropped for it."""
        with self._changed:
            replaced = camera in self._waiting
            self._waiting[camera] = frame
            self._changed.notify()
        return replaced

    def stop(self) -> None:
        """Forget what waits, let the call under way end, and end the thread."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while (frames := self._take()) is not None:
            started = time.monotonic()
            try:
                self._process(frames)
            except Exception as error:  # whatever it is, the next frame deserves its try
                self._on_error(error)
            self._rest(started)

    def _take(self) -> Mapping[str, Frame] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._stopping)
            if self._stopping:
                return None
            frames, self._waiting = self._waiting, {}
            return frames

    def _rest(self, started: float) -> None:
        """Wait until the least period has passed, which may change meanwhile."""
        with self._changed:
            while not self._stopping and (left := started + self._min_period() - time.monotonic()) > 0:
                self._changed.wait(min(left, LOOK_PERIOD))
