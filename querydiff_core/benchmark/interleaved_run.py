"""Call several engines in turn, so that all of them meet the same disturbances."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import numpy as np

from querydiff_core.benchmark.engine_process import EngineProcess
from querydiff_core.benchmark.engine_times import EngineTimes

SETTLE = 0.01
"""Seconds before a call, in which the threads of the engine before stop waiting for more work."""

FEWEST_ROUNDS = 3


def interleaved_run(
    engines: Sequence[EngineProcess],
    times: Sequence[EngineTimes],
    images: np.ndarray,
    seconds: float,
    advance: Callable[[float], bool],
) -> None:
    """Add calls with `images` `(B, H, W, 3)` to `times`, round after round until `seconds` have passed.

    The first round warms up and does not count. After every other round `advance` is called with
    the seconds since the start; it returns whether to continue.
    """
    own_size = [None if engine.facts.camera else _sample(images, engine.facts.network) for engine in engines]
    start, rounds = time.monotonic(), -1
    while rounds < FEWEST_ROUNDS or time.monotonic() - start < seconds:
        for engine, small, taken in zip(engines, own_size, times, strict=True):
            time.sleep(SETTLE)
            total, network = engine.time(images), None if small is None else engine.time(small)
            if rounds >= 0:
                taken.total.append(total)
            if rounds >= 0 and network is not None:
                taken.network.append(network)
        rounds += 1
        if rounds and not advance(time.monotonic() - start):
            return


def _sample(images: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return `images` at `size` by nearest-neighbour sampling."""
    rows, columns = (np.arange(n) * m // n for n, m in zip(size, images.shape[1:3], strict=True))
    return np.ascontiguousarray(images[:, rows[:, None], columns])
