"""Do the same work on many items, with threads and a progress bar."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T], workers: int, what: str) -> Iterator[R]:
    """Yield `work` of each item in order, by `workers` threads, showing progress and remaining time on a terminal.

    Threads suffice: decoding releases Python's lock.
    """
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

    from querydiff_core.utils.terminal import console

    columns = (what, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with (
        Progress(*columns, console=console(), transient=True, disable=not sys.stdout.isatty()) as progress,
        ThreadPoolExecutor(max(1, workers)) as threads,
    ):
        task = progress.add_task(what, total=len(items))
        try:
            for result in threads.map(work, items) if workers > 0 else map(work, items):
                yield result
                progress.advance(task)
        finally:  # after a failure or Ctrl-C, what waits is not started
            threads.shutdown(cancel_futures=True)
