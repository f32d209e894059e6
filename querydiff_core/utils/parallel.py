"""Do the same work on many items in threads, in order and not far ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def each(work: Callable[[T], R], items: Iterable[T], workers: int) -> Iterator[R]:
    """Yield `work` of each item in order, by `workers` threads that are at most two items each ahead; 0 for none.

    Threads suffice: decoding releases Python's lock. What `work` raises is raised in its place.
    """
    if workers == 0:
        yield from map(work, items)
        return
    waiting: deque[Future[R]] = deque()
    with ThreadPoolExecutor(workers) as threads:
        try:
            for item in items:
                waiting.append(threads.submit(work, item))
                if len(waiting) > 2 * workers:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:  # after a failure or Ctrl-C, what waits is not started
            threads.shutdown(cancel_futures=True)
