"""The worker between frames and engine, watched through events."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator, Mapping

import pytest

from querydiff_ros.node.latest_frame_worker import LatestFrameWorker

PATIENCE = 30


class Engine:
    """A process function that the test holds and lets go."""

    def __init__(self) -> None:
        self.started: queue.Queue[Mapping[str, int]] = queue.Queue()
        self.go = threading.Semaphore(0)
        self.errors: queue.Queue[Exception] = queue.Queue()

    def __call__(self, frames: Mapping[str, int]) -> None:
        self.started.put(frames)
        assert self.go.acquire(timeout=PATIENCE)
        if -1 in frames.values():
            raise ValueError("bad frame")


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
def worker(engine: Engine) -> Iterator[LatestFrameWorker[int]]:
    worker = LatestFrameWorker(engine, engine.errors.put)
    worker.start()
    yield worker
    engine.go.release(100)
    worker.stop()


def test_only_the_newest_frame_waits(engine: Engine, worker: LatestFrameWorker[int]) -> None:
    assert not worker.offer("front", 0)
    assert engine.started.get(timeout=PATIENCE) == {"front": 0}
    replaced = [worker.offer("front", number) for number in range(1, 100)]
    assert replaced == [False] + [True] * 98
    engine.go.release()
    assert engine.started.get(timeout=PATIENCE) == {"front": 99}


def test_cameras_that_have_a_frame_go_together(engine: Engine, worker: LatestFrameWorker[int]) -> None:
    worker.offer("front", 0)
    engine.started.get(timeout=PATIENCE)
    worker.offer("front", 1)
    worker.offer("rear", 2)
    worker.offer("rear", 3)
    engine.go.release()
    assert engine.started.get(timeout=PATIENCE) == {"front": 1, "rear": 3}


def test_an_error_is_told_and_the_next_frame_tried(engine: Engine, worker: LatestFrameWorker[int]) -> None:
    for number in (-1, -1, 5):
        worker.offer("front", number)
        assert engine.started.get(timeout=PATIENCE) == {"front": number}
        engine.go.release()
    assert [str(engine.errors.get(timeout=PATIENCE)) for _ in range(2)] == ["bad frame", "bad frame"]
    assert engine.errors.empty()


def test_stop_waits_for_the_call_under_way() -> None:
    started, go, finished = threading.Event(), threading.Event(), threading.Event()

    def process(_: Mapping[str, int]) -> None:
        started.set()
        assert go.wait(PATIENCE)
        finished.set()

    worker = LatestFrameWorker(process, lambda error: None)
    worker.start()
    worker.offer("front", 0)
    assert started.wait(PATIENCE)
    stopper = threading.Thread(target=lambda: (worker.stop(), stopped_after.append(finished.is_set())))
    stopped_after: list[bool] = []
    stopper.start()
    go.set()
    stopper.join(PATIENCE)
    assert stopped_after == [True]


def test_a_rate_limit_that_is_lifted_holds_no_longer(engine: Engine) -> None:
    period = [3600.0]
    worker = LatestFrameWorker(engine, engine.errors.put, min_period=lambda: period[0])
    worker.start()
    for number in range(2):
        worker.offer("front", number)
        assert engine.started.get(timeout=PATIENCE) == {"front": number}
        engine.go.release()
        period[0] = 0
    worker.stop()


def test_stop_forgets_what_waits_and_cuts_the_rate_limit_short(engine: Engine) -> None:
    worker = LatestFrameWorker(engine, engine.errors.put, min_period=lambda: 3600)
    worker.start()
    worker.offer("front", 0)
    engine.started.get(timeout=PATIENCE)
    engine.go.release()
    worker.offer("front", 1)
    worker.stop()  # would take an hour
    assert engine.started.empty()
