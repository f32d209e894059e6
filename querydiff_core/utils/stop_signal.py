"""Ctrl-C as a request to stop at the end of a step."""

from __future__ import annotations

import signal
from types import FrameType, TracebackType

SIGNALS = (signal.SIGINT, signal.SIGTERM)  # schedulers of clusters send the second one


class StopSignal:
    """Context in which the first Ctrl-C (or SIGTERM) sets `made`; a second one interrupts at once."""

    def __init__(self) -> None:
        self.made = False

    def __enter__(self) -> StopSignal:
        self._before = {number: signal.signal(number, self._note) for number in SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._restore()

    def _note(self, number: int, frame: FrameType | None) -> None:
        self.made = True
        self._restore()

    def _restore(self) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)
