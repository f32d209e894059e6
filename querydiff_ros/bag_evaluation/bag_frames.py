"""The frames of a bag with their ground truth and with what was predicted for them, streamed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.errors import QueryDiffError, listed
from querydiff_core.inference.segmenter import Segmentation
from querydiff_core.label_space import label_mapping
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.drive_topics import DriveTopics
from querydiff_ros.bag_evaluation.stamp_pairing import PATIENCE_NS, StampPairing
from querydiff_ros.bags.bag_reader import BagMessage, BagReader
from querydiff_ros.bags.video_stream import VIDEO_TYPES, VideoStream, typestore
from querydiff_ros.common.compressed_images import rgb_from_compressed
from querydiff_ros.common.image_conversions import ENCODINGS, BadFrame, rgb_from_image, stored_pixels
from querydiff_ros.common.stamps import Moments, OwnMoments, Runs, has_stamp, stamp_ns

GROUND_TRUTH_ENCODINGS = ("mono8", "8UC1", "bgra8")
"""bgra8 is CARLA's: tags in red, or colours."""


@dataclass(frozen=True)
class BagFrame:
    """A frame of a bag, pixels `(H, W)`.

    `stamp_ns`: the stamp, or where another frame has it, or it was never set, the time of recording. `condition`: ""
    where it is not known. `image`: uint8 RGB. `ground_truth`: uint8 trainIds or None.
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
    """A message of the camera or of its ground truth; `data`: CDR bytes, or a frame of a video, uint8 RGB."""

    topic: str
    stamp_ns: int
    time_ns: int
    condition: str
    data: bytes | np.ndarray

    @property
    def size(self) -> int:
        """Return how many bytes the data has."""
        return self.data.nbytes if isinstance(self.data, np.ndarray) else len(self.data)


class BagFrames:
    """Iterate over the frames of one camera in a bag; a few of them are in memory at a time, however long the bag.

    Each iteration reads the bag once more.

    Attributes:
        bag, topics: the bag and its topics.
        is_video: whether the camera is recorded as video.
        frames: number of frames that this reading has given so far.
        rejected: number of messages that hold no readable frame.
        rejections: why, a clause for the first of them; of a video one for each kind of fault, once all are read.
        unreadable: numbers of other messages, of ground truth or condition, that are passed over, by topic.
        matched: number of frames that have ground truth.

    Raises:
        QueryDiffError: if the bag or one of its topics cannot be used.
    """

    def __init__(self, source: BagSource, options: BagOptions) -> None:
        """Open the bag and choose its topics; no frame is read yet."""
        self.bag = BagReader(source.path)
        self.topics = DriveTopics.choose(self.bag, options.image, options.ground_truth)
        self._condition = source.condition  # holds until the bag's own topic says another
        self._tolerance_ns = round(options.tolerance * 1e9)
        self._mapping = label_mapping(options.mapping)
        self._decoder = LabelDecoder(self._mapping)
        self._store = typestore()
        self._kind = self.bag.topics[self.topics.image].msgtype
        self.is_video = self._kind in VIDEO_TYPES
        self._begin()

    @property
    def notes(self) -> list[str]:
        """Return sentences on what of the bag is not judged, though nothing is wrong with it."""
        notes = list(self.bag.notes)
        if self.topics.others:
            chosen = f"{self.bag.path}: {self.topics.image} is judged; --image names another camera, such as "
            notes.append(f"{chosen}{', '.join(self.topics.others)}.")
        without, unused = self.frames - self.matched, self._ground_truths - self.matched
        if without and unused:
            notes.append(
                f"{self.bag.path}: {without} of {self.frames} frames have no ground truth, and {unused} of "
                f"{self.topics.ground_truth} no frame, {self._nearness}."
            )
        return notes

    @property
    def _nearness(self) -> str:
        patience = PATIENCE_NS / 1e9
        return f"stamped within {self._tolerance_ns / 1e9:g} s and recorded within {patience:g} s of each other"

    def __iter__(self) -> Iterator[BagFrame]:
        """Read and decode the frames in order.

        Raises:
            QueryDiffError: if a message of the ground truth is no image of label ids, or none lies near any frame.
        """
        self._begin()
        pairing: StampPairing[_Recorded, bytes | np.ndarray] = StampPairing(self._tolerance_ns)
        ranges = _Ranges()
        for recorded in self._recorded():
            stamp = self._moments.of(recorded.topic, recorded.stamp_ns, recorded.time_ns)
            if len(self._runs.follow(recorded.topic, stamp)) > 1:  # nothing pairs across a restart
                yield from self._decoded(pairing.rest())
                pairing = StampPairing(self._tolerance_ns)
            ranges.add(recorded.topic, stamp)
            if recorded.topic == self.topics.image:
                own = self._own.of(recorded.stamp_ns, recorded.time_ns)
                pairing.add_frame(stamp, recorded.time_ns, recorded._replace(stamp_ns=own), recorded.size)
            else:
                pairing.add_ground_truth(stamp, recorded.time_ns, recorded.data, recorded.size)
                self._ground_truths += 1
            if self.topics.ground_truth is None:
                yield from self._decoded(pairing.rest())
            else:
                yield from self._decoded(pairing.ready(recorded.time_ns))
        yield from self._decoded(pairing.rest())
        self._check(ranges)

    def _recorded(self) -> Iterator[_Recorded]:
        """Read camera and ground truth; a video is decoded on the way, because its frames come in another order."""
        condition = self._condition
        for message in self.bag.messages(self.topics.names):
            if message.topic == self.topics.condition:
                condition = self._text(message) or condition
                continue
            stamp = self._stamp(message)
            if stamp is None:
                continue
            recorded = _Recorded(message.topic, stamp, message.time_ns, condition, message.data)
            if self.is_video and message.topic == self.topics.image:
                yield from self._video_frames(recorded._replace(data=b""), message.data)
            else:
                yield recorded
        yield from (found._replace(data=image) for found, image in self._video.rest())
        self._reject_packets()

    def _video_frames(self, recorded: _Recorded, data: bytes) -> Iterator[_Recorded]:
        try:
            message = self._message(self.topics.image, data)
        except BadFrame as reason:
            self._reject(str(reason))
            return
        for found, image in self._video.decode(message, recorded):
            yield found._replace(data=image)

    def _reject_packets(self) -> None:
        for fault, count in self._video.faults.items():
            self.rejected += count
            first = self._video.first[fault].stamp_ns / 1e9
            self.rejections.append(f"{count} of {self.topics.image} {fault}, the first at {first:.3f} s")

    def _begin(self) -> None:
        self.frames = self.rejected = self.matched = self._ground_truths = 0
        self.rejections: list[str] = []
        self.unreadable: Counter[str] = Counter()
        self._video: VideoStream[_Recorded] = VideoStream()
        self._moments, self._own, self._runs = Moments(), OwnMoments(), Runs()

    def _decoded(self, pairs: Iterable[tuple[_Recorded, Any]]) -> Iterator[BagFrame]:
        for recorded, label_data in pairs:
            image = self._rgb(recorded.data)
            if image is None:
                continue
            height, width = image.shape[:2]
            message = None if label_data is None else self._readable(self.topics.ground_truth, label_data)
            ground_truth = None if message is None else self._ground_truth(message, (height, width))
            self.frames += 1
            self.matched += ground_truth is not None
            yield BagFrame(recorded.stamp_ns, recorded.condition, image, ground_truth)

    def _ground_truth(self, message: Any, size: tuple[int, int]) -> np.ndarray:
        """Return the trainIds of a label image for a frame of `size` (height, width)."""
        where = f"{self.bag.path}: {self.topics.ground_truth}"
        if message.encoding not in GROUND_TRUTH_ENCODINGS:
            raise QueryDiffError(f"{where} has encoding {message.encoding!r}: expected mono8 or CARLA's bgra8.")
        if (message.height, message.width) != size:
            raise QueryDiffError(
                f"{where} has label images of {message.width}x{message.height} and its camera has images of "
                f"{size[1]}x{size[0]}: they must be equal."
            )
        try:
            stored = stored_pixels(message, ENCODINGS[message.encoding])
        except BadFrame as reason:
            raise QueryDiffError(f"{where} {reason}.") from reason
        stored = stored[..., 2::-1] if message.encoding == "bgra8" else stored[..., 0]
        if stored.ndim == 3 and not stored[..., 1:].any():
            stored = stored[..., 0]
        train_ids, unknown = self._decoder.decode_pixels(np.ascontiguousarray(stored), where)
        if unknown:
            shown = listed([f"{value} ({count} pixels)" for value, count in unknown.items()])
            raise QueryDiffError(
                f"{where} holds values that the mapping {self._mapping.name} does not have: {shown}; choose another "
                "--mapping."
            )
        return train_ids

    def _check(self, ranges: _Ranges) -> None:
        topic = self.topics.ground_truth
        if self.matched or not self.frames or topic is None or topic not in ranges.stamps:
            return
        frames, ground_truths = (ranges.text(name) for name in (self.topics.image, topic))
        raise QueryDiffError(
            f"{self.bag.path}: none of {topic} ({ground_truths}) and {self.topics.image} ({frames}) are "
            f"{self._nearness}: give more --tolerance, or the ground truth of this drive."
        )

    def _rgb(self, data: bytes | np.ndarray) -> np.ndarray | None:
        if isinstance(data, np.ndarray):
            return data
        raw = self._kind == "sensor_msgs/msg/Image"
        try:
            message = self._message(self.topics.image, data)
            return rgb_from_image(message) if raw else rgb_from_compressed(message)
        except BadFrame as reason:
            self._reject(str(reason))
            return None

    def _stamp(self, message: BagMessage) -> int | None:
        if has_stamp(message.data):
            return stamp_ns(message.data)
        if message.topic == self.topics.image:
            self._reject("is too short for a header")
        else:
            self.unreadable[message.topic] += 1
        return None

    def _reject(self, reason: str) -> None:
        self.rejected += 1
        if not self.rejections:
            self.rejections.append(f"the first {self.topics.image} {reason}")

    def _text(self, message: BagMessage) -> str:
        text = self._readable(message.topic, message.data)
        return "" if text is None else str(text.data).strip()

    def _readable(self, topic: str | None, data: bytes) -> Any:
        """Return a message, or None for one that is rotten, which is counted."""
        try:
            return self._message(topic, data)
        except BadFrame:
            self.unreadable[str(topic)] += 1
            return None

    def _message(self, topic: str | None, data: bytes) -> Any:
        assert topic
        kind = self.bag.topics[topic].msgtype
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
