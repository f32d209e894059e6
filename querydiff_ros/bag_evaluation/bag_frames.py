"""The frames of a bag with their ground truth and with what was predicted for them, streamed."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import cv2
import numpy as np
from rosbags.typesys import Stores, get_typestore

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.segmenter import Segmentation
from querydiff_core.label_space import LabelMapping
from querydiff_ros.bag_evaluation.drive_topics import DriveTopics
from querydiff_ros.bag_evaluation.stamp_pairing import StampPairing
from querydiff_ros.bags.bag_reader import BagMessage, BagReader
from querydiff_ros.common.image_conversions import BadFrame, rgb_from_compressed, rgb_from_image
from querydiff_ros.common.stamps import stamp_ns

ENCODINGS = ("mono8", "8UC1")
"""Of ground truth."""
SHOWN_VALUES = 5


@dataclass(frozen=True)
class BagFrame:
    """A frame of a bag, pixels `(H, W)`.

    `condition`: "" where it is not known. `image`: uint8 RGB. `ground_truth`: uint8 trainIds or None.
    """

    stamp_ns: int
    condition: str
    image: np.ndarray
    ground_truth: np.ndarray | None


@dataclass(frozen=True)
class LabelledFrame(BagFrame):
    """A frame with its `prediction`, uint8 trainIds, and `confidence`, uint8 or None, `(H, W)` each."""

    prediction: np.ndarray
    confidence: np.ndarray | None


class _Recorded(NamedTuple):
    stamp_ns: int
    condition: str
    data: bytes


class BagFrames:
    """Iterate over the frames of one camera in a bag; a few of them are in memory at a time, however long the bag.

    Each iteration reads the bag once more.

    Attributes:
        frames: number of frames that this reading has given so far.
        rejected: number of messages that hold no readable frame.
        rejection: why the first of them was rejected.
        matched: number of frames that have ground truth.
    """

    def __init__(
        self, bag: BagReader, topics: DriveTopics, mapping: LabelMapping, tolerance: float, condition: str = ""
    ) -> None:
        """Prepare; nothing is read yet.

        Args:
            bag: the drive.
            topics: its topics.
            mapping: what the values of the ground truth mean.
            tolerance: seconds between the stamps of a frame and its ground truth, at most.
            condition: holds until the bag's own topic says another.
        """
        self._bag, self._topics, self._condition = bag, topics, condition
        self._tolerance_ns = round(tolerance * 1e9)
        self._decode_ground_truth = GroundTruthDecoder(mapping, f"{bag.path}: {topics.ground_truth}")
        self._store = get_typestore(Stores.ROS2_JAZZY)
        self._begin()

    def __iter__(self) -> Iterator[BagFrame]:
        """Read and decode the frames in order.

        Raises:
            QueryDiffError: if the ground truth is no image of labels, or none of it lies near any frame.
        """
        self._begin()
        pairing: StampPairing[_Recorded, bytes] = StampPairing(self._tolerance_ns)
        ranges = _Ranges()
        condition = self._condition
        for message in self._bag.messages(self._topics.names):
            if message.topic == self._topics.condition:
                condition = self._text(message) or condition
                continue
            stamp = self._stamp(message)
            if stamp is None:
                continue
            ranges.add(message.topic, stamp)
            if message.topic == self._topics.image:
                if stamp in self._stamps:  # outputs are told apart by their stamps
                    self._reject(f"repeats the stamp {stamp / 1e9:.9f}")
                    continue
                self._stamps.add(stamp)
                pairing.add_frame(stamp, message.time_ns, _Recorded(stamp, condition, message.data))
            else:
                pairing.add_ground_truth(stamp, message.data)
            if self._topics.ground_truth is None:
                yield from self._decoded(pairing.rest())
            else:
                yield from self._decoded(pairing.ready(message.time_ns))
        yield from self._decoded(pairing.rest())
        self._check(ranges)

    def _begin(self) -> None:
        self.frames = self.rejected = self.matched = 0
        self.rejection = ""
        self._stamps: set[int] = set()

    def _decoded(self, pairs: Iterable[tuple[_Recorded, bytes | None]]) -> Iterator[BagFrame]:
        for (stamp, condition, data), label_data in pairs:
            image = self._rgb(data)
            if image is None:
                continue
            height, width = image.shape[:2]
            ground_truth = None
            if label_data is not None:
                message = self._message(self._topics.ground_truth, label_data)
                ground_truth = self._decode_ground_truth(message, (height, width))
            self.frames += 1
            self.matched += ground_truth is not None
            yield BagFrame(stamp, condition, image, ground_truth)

    def _check(self, ranges: _Ranges) -> None:
        topic = self._topics.ground_truth
        if self.matched or not self.frames or topic is None or topic not in ranges.stamps:
            return
        frames, ground_truths = (ranges.text(name) for name in (self._topics.image, topic))
        raise QueryDiffError(
            f"{self._bag.path}: no stamp of {topic} ({ground_truths}) lies within "
            f"{self._tolerance_ns / 1e9:g} s of one of {self._topics.image} ({frames}): give more --tolerance, or the "
            "ground truth of this drive."
        )

    def _rgb(self, data: bytes) -> np.ndarray | None:
        raw = self._bag.topics[self._topics.image].msgtype == "sensor_msgs/msg/Image"
        try:
            message = self._message(self._topics.image, data)
            return rgb_from_image(message) if raw else rgb_from_compressed(message)
        except BadFrame as reason:
            self._reject(str(reason))
            return None

    def _stamp(self, message: BagMessage) -> int | None:
        try:
            return stamp_ns(message.data)
        except (struct.error, IndexError):
            self._reject("is too short for a header")
            return None

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        self.rejection = self.rejection or f"{self._topics.image} {reason}"

    def _text(self, message: BagMessage) -> str:
        return str(self._message(message.topic, message.data).data).strip()

    def _message(self, topic: str | None, data: bytes) -> Any:
        assert topic
        kind = self._bag.topics[topic].msgtype
        try:
            return self._store.deserialize_cdr(data, kind)
        except Exception as error:  # a rotten message makes the parser raise anything
            raise BadFrame(f"holds a message that is no {kind}") from error


class LabelledFrames:
    """Iterate over the frames that `predict` gives something for; each iteration reads the bag once more."""

    def __init__(self, frames: BagFrames, predict: Callable[[BagFrame], Segmentation | None]) -> None:
        self._frames, self._predict = frames, predict

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read, decode and predict the frames in order; errors as of `BagFrames`."""
        for frame in self._frames:
            if (found := self._predict(frame)) is not None:
                yield LabelledFrame(**vars(frame), prediction=found.labels, confidence=found.confidence)


class GroundTruthDecoder:
    """Turn label messages of the topic `where` into trainIds.

    Args:
        mapping: what the values mean.
        where: bag and topic, as sentences name them.
    """

    def __init__(self, mapping: LabelMapping, where: str) -> None:
        self._mapping, self._where = mapping, where

    def __call__(self, message: Any, size: tuple[int, int]) -> np.ndarray:
        """Return the labels, uint8 trainIds `(H, W)`, of a `sensor_msgs/Image` for a frame of `size` (H, W).

        Raises:
            QueryDiffError: if encoding, size, data or values are not those of labels.
        """
        if message.encoding not in ENCODINGS:
            raise QueryDiffError(
                f"{self._where} has encoding {message.encoding!r}: expected mono8, one class id a pixel."
            )
        if (message.height, message.width) != size:
            raise QueryDiffError(
                f"{self._where} has label images of {message.width}x{message.height} and its camera has images of "
                f"{size[1]}x{size[0]}: they must be equal."
            )
        if len(message.data) != message.height * message.step or message.step < message.width:
            raise QueryDiffError(
                f"{self._where} has a label image of {len(message.data)} bytes; {message.height} rows of "
                f"{message.step} bytes are expected."
            )
        values = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, : message.width]
        self._check_values(values)
        return np.asarray(cv2.LUT(values, self._mapping.table))

    def _check_values(self, values: np.ndarray) -> None:
        known = self._mapping.known
        counts = np.bincount(values.ravel(), minlength=256)
        outside = [f"{value} ({counts[value]} pixels)" for value in np.flatnonzero(counts) if not known[value]]
        if outside:
            shown = ", ".join(outside[:SHOWN_VALUES]) + (", ..." if len(outside) > SHOWN_VALUES else "")
            raise QueryDiffError(
                f"{self._where} holds values that the mapping {self._mapping.name} does not have: {shown}; choose "
                "another --mapping."
            )


class _Ranges:
    """First and last stamp by topic."""

    def __init__(self) -> None:
        self.stamps: dict[str, tuple[int, int]] = {}

    def add(self, topic: str, stamp: int) -> None:
        first, last = self.stamps.get(topic, (stamp, stamp))
        self.stamps[topic] = (min(first, stamp), max(last, stamp))

    def text(self, topic: str) -> str:
        first, last = self.stamps[topic]
        return f"{first / 1e9:.3f} to {last / 1e9:.3f} s"
