"""Do the same work on many items, with threads and a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from querydiff_core.utils.terminal import tracked

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Sequence[T], workers: int, what: str) -> Iterator[R]:
    """Yield `work` of each item in order, by `workers` threads, under the progress of `what`.

    Threads suffice: decoding releases Python's lock.
    """
    with ThreadPoolExecutor(max(1, workers)) as threads:
        results = threads.map(work, items) if workers > 0 else map(work, items)
        try:
            yield from tracked(results, what, len(items))
        finally:  # after a failure or Ctrl-C, what waits is not started
            threads.shutdown(cancel_futures=True)
