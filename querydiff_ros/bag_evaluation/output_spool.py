"""Keep a node's label and confidence images on disk, however many there are."""

from __future__ import annotations

import tempfile
import threading
from queue import Queue
from types import TracebackType
from typing import IO, Any, NamedTuple

import lz4.frame
import numpy as np
from rosbags.typesys import Stores, get_typestore

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.segmenter import Segmentation
from querydiff_ros.common.image_conversions import mono8_pixels

QUEUE_LENGTH = 64
LABEL, CONFIDENCE = "label", "confidence"


class _Place(NamedTuple):
    offset: int
    size: int


class OutputSpool:
    """Write messages to a temporary file from a thread of its own, and read them again by kind and stamp.

    Used as a context manager: the thread ends and the file goes with it.
    """

    def __init__(self) -> None:
        self._file: IO[bytes]
        self._places: dict[tuple[str, int], _Place] = {}
        self._queue: Queue[tuple[str, int, bytes] | None] = Queue(QUEUE_LENGTH)
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._error: OSError | None = None
        self._confident = False
        self._thread = threading.Thread(target=self._write, daemon=True)

    def __enter__(self) -> OutputSpool:
        """Open the file and start the thread."""
        self._file = tempfile.TemporaryFile()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the thread and close the file."""
        self.finish()
        self._file.close()

    def put(self, kind: str, stamp_ns: int, message: bytes) -> None:
        """Take the CDR bytes of an Image of `kind`, LABEL or CONFIDENCE; the first one of a stamp counts."""
        self._confident |= kind == CONFIDENCE
        self._queue.put((kind, stamp_ns, message))

    def finish(self) -> None:
        """Wait until everything is written.

        Raises:
            QueryDiffError: if the disk is full.
        """
        if self._thread.is_alive():
            self._queue.put(None)
            self._thread.join()
        if self._error is not None:
            raise QueryDiffError(
                f"The node's outputs cannot be kept in {tempfile.gettempdir()}: {self._error.strerror}."
            )

    def segmentation(self, stamp_ns: int) -> Segmentation | None:
        """Return what the node predicted for the frame of that stamp, None for nothing; call `finish` before."""
        labels, confidence = self._read(LABEL, stamp_ns), self._read(CONFIDENCE, stamp_ns)
        lost = confidence is None and self._confident  # with none at all, the engine has no confidence to give
        return None if labels is None or lost else Segmentation(labels, confidence)

    def _read(self, kind: str, stamp_ns: int) -> np.ndarray | None:
        place = self._places.get((kind, stamp_ns))
        if place is None:
            return None
        self._file.seek(place.offset)
        message: Any = self._store.deserialize_cdr(
            lz4.frame.decompress(self._file.read(place.size)), "sensor_msgs/msg/Image"
        )
        return mono8_pixels(message)

    def _write(self) -> None:
        while (taken := self._queue.get()) is not None:
            kind, stamp_ns, message = taken
            if self._error is not None or (kind, stamp_ns) in self._places:
                continue
            try:
                packed = lz4.frame.compress(message)  # zlib would take far more time from the node
                self._places[kind, stamp_ns] = _Place(self._file.tell(), len(packed))
                self._file.write(packed)
            except OSError as error:  # said when the drive has ended; the queue must not fill up meanwhile
                self._error = error
