"""Send a drive through the node, then read it together with the node's answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rclpy.serialization import deserialize_message
from rich.progress import Progress
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bag_evaluation.node_process import NodeProcess
from querydiff_ros.bags.bag_player import BagPlayer, ReplayOptions
from querydiff_ros.bags.bag_reader import BagMessage, BagReader
from querydiff_ros.common.image_conversions import mono8_pixels, rgb_from_compressed, rgb_from_image
from querydiff_ros.common.ros_session import ros_node
from querydiff_ros.common.stamps import stamp_ns
from querydiff_ros.common.topics import CONDITION_TOPIC, camera_images, label_topic
from querydiff_ros.demo.label_collector import LabelCollector

START_SECONDS = 60.0
LABEL_SECONDS = 15.0
LAST_WORDS_SECONDS = 5.0


@dataclass
class LabelledFrame:
    """A frame, `image` uint8 RGB `(H, W, 3)`, with `prediction`, `confidence` and `ground_truth` uint8 `(H, W)`.

    `condition`: as recorded, empty where it is not known.
    """

    stamp_ns: int
    condition: str
    image: np.ndarray
    prediction: np.ndarray
    confidence: np.ndarray | None
    ground_truth: np.ndarray | None = None


class LabelledDrive:
    """A drive and what the node made of it; iterating reads the labelled frames in order, one at a time.

    Attributes:
        published: number of frames sent to the node.
        labelled: number of frames that were labelled.
        diagnostics: the node's last values, such as `engine`, `variant` and `latency_from_arrival_p50_ms`.
    """

    def __init__(self, bag: BagReader, engine: Path | None, log: Path) -> None:
        """Start the node, replay `bag` into it in lockstep, and stop the node.

        Args:
            bag: a drive; of several cameras the first is labelled.
            engine: the node's engine, None for the shipped one.
            log: file for the node's log.

        Raises:
            QueryDiffError: if no label arrives, with the node's last word.
        """
        self._bag = bag
        self._image_topic = _image_topic(bag)
        labels = str(label_topic(self._image_topic))
        camera = labels.removesuffix("/label").removeprefix("/")
        self._ground_truth_topic = f"{labels}_ground_truth"
        parameters = {"cameras": [camera], **({"engine": str(engine.resolve())} if engine else {})}
        with NodeProcess(log, parameters) as process, ros_node("demo") as node:
            self._collector = LabelCollector(node, camera)
            options = ReplayOptions(rate=0, topics=self._topics(), lockstep=True, timeout=LABEL_SECONDS)
            replayer = BagPlayer(node, bag, options)
            try:
                self._replay(replayer, process)
            except QueryDiffError as error:
                raise QueryDiffError(f"{error} The node's log, {log}, ends with: {process.last_word()}") from error
        self.published, self.labelled = replayer.frames_published, replayer.frames_labelled
        self.diagnostics: Mapping[str, str] = self._collector.diagnostics

    def __iter__(self) -> Iterator[LabelledFrame]:
        """Read the labelled frames again."""
        condition, frame = "", None
        for message in self._bag.messages(self._topics()):
            if message.topic == CONDITION_TOPIC:
                condition = str(deserialize_message(message.data, String).data)
            elif message.topic == self._image_topic:
                if frame is not None:
                    yield frame
                frame = self._frame(message, condition)
            elif frame is not None and stamp_ns(message.data) == frame.stamp_ns:
                frame.ground_truth = mono8_pixels(deserialize_message(message.data, Image))
        if frame is not None:
            yield frame

    def _topics(self) -> tuple[str, ...]:
        wanted = (CONDITION_TOPIC, self._image_topic, self._ground_truth_topic)
        return tuple(topic for topic in wanted if topic in self._bag.topics)

    def _replay(self, replayer: BagPlayer, process: NodeProcess) -> None:
        ready = replayer.spin_until(lambda: replayer.is_heard() or process.failed(), START_SECONDS)
        if not ready or not replayer.is_heard():
            raise QueryDiffError("No label arrived: the node did not become active.")
        with Progress(disable=not sys.stdout.isatty(), transient=True) as progress:
            bar = progress.add_task("labelling", total=self._bag.topics[self._image_topic].count)
            for _ in replayer.play():
                progress.update(bar, completed=replayer.frames_published)
        if not replayer.frames_labelled:
            raise QueryDiffError(f"No label arrived: {self._bag.path} holds no whole frame.")
        labelled = replayer.frames_labelled
        replayer.spin_until(lambda: self._collector.complete(labelled), LAST_WORDS_SECONDS)

    def _frame(self, message: BagMessage, condition: str) -> LabelledFrame | None:
        stamp = stamp_ns(message.data)
        labels = self._collector.labels(stamp)
        if labels is None:
            return None
        return LabelledFrame(stamp, condition, self._rgb(message), labels, self._collector.confidence(stamp))

    def _rgb(self, message: BagMessage) -> np.ndarray:
        # The node has labelled this frame, so it can be decoded.
        if self._bag.topics[message.topic].msgtype == "sensor_msgs/msg/Image":
            return rgb_from_image(deserialize_message(message.data, Image))
        return rgb_from_compressed(deserialize_message(message.data, CompressedImage))


def _image_topic(bag: BagReader) -> str:
    images = sorted(camera_images(bag.topics.values()))
    if not images:
        raise QueryDiffError(
            f"{bag.path} has no topic <camera>/image or <camera>/image/compressed; it has {', '.join(bag.topics)}."
        )
    return images[0]
