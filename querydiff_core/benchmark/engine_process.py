"""One engine in a process of its own, so that its memory and its threads are its own."""

from __future__ import annotations

import multiprocessing
import resource
import signal
import sys
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np

from querydiff_core.errors import QueryDiffError, described
from querydiff_core.inference.engine import EngineOptions


@dataclass(frozen=True)
class EngineFacts:
    """The description of an engine.

    `network`: its input size. `load`: seconds to open it and label the first image. `camera`: the size (height, width)
    of images that is built in, None where they may have any.
    """

    engine: str
    device: str
    variant: str
    network: tuple[int, int]
    load: float
    camera: tuple[int, int] | None = None


class EngineProcess:
    """Open the model that `options` name in a new process, and call it there.

    Raises:
        QueryDiffError: what opening it raises, or that its process has ended.
    """

    def __init__(self, name: str, options: EngineOptions) -> None:
        self.name = name
        spawn = multiprocessing.get_context("spawn")  # a fork would inherit memory and threads
        self._connection, theirs = spawn.Pipe()
        self._process = spawn.Process(target=_serve, args=(theirs, options), daemon=True)
        self._process.start()
        theirs.close()
        try:
            self.facts: EngineFacts = self._receive()
        except BaseException:
            self.close()
            raise

    def time(self, images: np.ndarray) -> float:
        """Return the seconds that labelling uint8 `images` `(B, H, W, 3)` takes."""
        return self._ask("time", images)

    def labels(self, images: np.ndarray) -> np.ndarray:
        """Return the labels of `images`."""
        return self._ask("labels", images)

    def peak_memory(self) -> int:
        """Return the most bytes of main memory that the process has held."""
        return self._ask("peak_memory", None)

    def close(self) -> None:
        """End the process."""
        self._connection.close()
        self._process.join(5)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, question: str, images: np.ndarray | None) -> Any:
        try:
            self._connection.send((question, images))
        except OSError as error:
            raise self._ended() from error
        return self._receive()

    def _receive(self) -> Any:
        try:
            answer = self._connection.recv()
        except (EOFError, OSError) as error:
            raise self._ended() from error
        if isinstance(answer, Exception):
            raise answer
        return answer

    def _ended(self) -> QueryDiffError:
        self._process.join(5)
        return QueryDiffError(
            f"The process of {self.name} ended with exit code {self._process.exitcode}: it may have run out of memory; "
            "try a smaller --camera, --size or --batch."
        )


def _serve(connection: Connection, options: EngineOptions) -> None:
    """Answer until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    try:
        segmenter, facts = _open(options)
    except Exception as error:
        connection.send(QueryDiffError(described(error)))
        return
    connection.send(facts)
    while True:
        try:
            question, images = connection.recv()
        except EOFError:
            return
        try:
            connection.send(_answer(segmenter, question, images))
        except Exception as error:
            connection.send(QueryDiffError(described(error)))


def _open(options: EngineOptions) -> tuple[Any, EngineFacts]:
    from querydiff_core.inference.segmenter import Segmenter

    start = time.perf_counter()
    segmenter = Segmenter.open(options)
    segmenter.warm_up()
    metadata = segmenter.metadata
    height, width = options.size or metadata.input_size
    load = time.perf_counter() - start
    camera = metadata.build.camera if metadata.build else None
    facts = EngineFacts(segmenter.engine_name, segmenter.device, metadata.variant, (height, width), load, camera)
    return segmenter, facts


def _answer(segmenter: Any, question: str, images: np.ndarray | None) -> Any:
    if question == "peak_memory":
        unit = 1 if sys.platform == "darwin" else 1024
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
    start = time.perf_counter()
    labels = segmenter(images).labels
    return labels if question == "labels" else time.perf_counter() - start
