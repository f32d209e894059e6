"""Send a drive through the real node and keep what it answers."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile
from rich.progress import Progress
from sensor_msgs.msg import Image

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.segmenter import Segmentation
from querydiff_ros.bag_evaluation.bag_options import OnlineOptions
from querydiff_ros.bag_evaluation.drive_topics import DriveTopics
from querydiff_ros.bag_evaluation.node_process import NodeProcess
from querydiff_ros.bag_evaluation.output_spool import OutputSpool
from querydiff_ros.bags.bag_player import BagPlayer, ReplayOptions
from querydiff_ros.bags.bag_reader import BagMessage, BagReader
from querydiff_ros.common.ros_session import ros_node
from querydiff_ros.common.stamps import stamp_ns
from querydiff_ros.common.topics import label_topic

START_SECONDS = 60.0
LABEL_SECONDS = 30.0
LAST_WORDS_SECONDS = 10.0
LISTEN_SECONDS = 0.001
PERCENTILES = (50, 90, 99, 100)


class NodeSession:
    """What `segment_node`, running as its own process, answers to a drive over DDS.

    Calling it with a frame's stamp and image returns the answer, None for a frame that got none.

    Attributes:
        statistics: latency from stamp, drop rate, rates; see `_statistics`.
    """

    def __init__(
        self,
        bag: BagReader,
        topics: DriveTopics,
        parameters: Mapping[str, object],
        options: OnlineOptions,
        spool: OutputSpool,
        log: Path,
    ) -> None:
        """Start the node, play the drive and stop the node.

        Args:
            bag: the drive.
            topics: of them the camera's is played.
            parameters: the node's.
            options: how to play.
            spool: keeps the answers.
            log: file for the node's log.

        Raises:
            QueryDiffError: if the node does not become active or a drive in lockstep gets no labels.
        """
        self._spool, self._topic = spool, topics.image
        self._sent: dict[int, int] = {}
        self._labelled: dict[int, int] = {}
        self._confident = 0
        self._rate = options.rate
        labels = label_topic(topics.image)
        if labels is None:
            raise QueryDiffError(
                f"{bag.path}: the node reads <camera>/image or <camera>/image/compressed, not {topics.image}: evaluate "
                "this bag without --online."
            )
        camera = labels.removesuffix("/label").removeprefix("/")
        with NodeProcess(log, {"cameras": [camera], **parameters}) as process, ros_node("evaluate_bag") as node:
            self._listen(node, labels)
            replay = ReplayOptions(
                options.rate, topics=(topics.image,), lockstep=options.lockstep, timeout=LABEL_SECONDS
            )
            replayer = BagPlayer(node, bag, replay, self._on_send)
            try:
                self._wait_for_node(node, labels, replayer, process)
                self._play(replayer, process, bag.topics[topics.image].count)
            except QueryDiffError as error:
                raise QueryDiffError(f"{error} The node's log ends with: {process.last_word()}") from error
        spool.finish()
        self.statistics = self._statistics()

    def __call__(self, stamp_ns: int, image: np.ndarray) -> Segmentation | None:
        """Return the answer to the frame of that stamp."""
        labels, confidence = self._spool.read("label", stamp_ns), self._spool.read("confidence", stamp_ns)
        lost = confidence is None and self._confident > 0  # with none at all, the engine has no confidence to give
        if labels is None or lost:
            return None
        return Segmentation(labels, confidence)

    def _listen(self, node: Node, labels: str) -> None:
        quality = QoSProfile(depth=50)  # reliable, as the node publishes
        confidence = labels.removesuffix("label") + "confidence"
        node.create_subscription(Image, labels, self._on_label, quality, raw=True)
        node.create_subscription(Image, confidence, self._on_confidence, quality, raw=True)

    def _on_send(self, message: BagMessage) -> None:
        if message.topic == self._topic:
            self._sent.setdefault(stamp_ns(message.data), time.monotonic_ns())

    def _on_label(self, message: bytes) -> None:
        now, stamp = time.monotonic_ns(), stamp_ns(message)
        if self._labelled.setdefault(stamp, now) == now:
            self._spool.put("label", stamp, message)

    def _on_confidence(self, message: bytes) -> None:
        self._confident += 1
        self._spool.put("confidence", stamp_ns(message), message)

    def _wait_for_node(self, node: Node, labels: str, replayer: BagPlayer, process: NodeProcess) -> None:
        def is_up() -> bool:
            return replayer.is_heard() and node.count_publishers(labels) > 0

        ready = replayer.spin_until(lambda: is_up() or process.failed(), START_SECONDS)
        if not ready or process.failed():
            raise QueryDiffError("No label arrived: the node did not become active.")
        replayer.wait_for_subscriber()

    def _play(self, replayer: BagPlayer, process: NodeProcess, frames: int) -> None:
        with Progress(disable=not sys.stdout.isatty(), transient=True) as progress:
            bar = progress.add_task("playing", total=frames)
            for _ in replayer.play():
                replayer.spin_until(lambda: False, LISTEN_SECONDS)  # without pauses nobody else would
                progress.update(bar, completed=len(self._sent))
        # The node always labels the newest frame: once the last one is back, nothing more comes.
        last = next(reversed(self._sent), None)
        replayer.spin_until(lambda: last in self._labelled or process.failed(), LAST_WORDS_SECONDS)
        replayer.spin_until(lambda: self._confident >= len(self._labelled), LAST_WORDS_SECONDS)
        if process.failed():
            raise QueryDiffError(f"The node failed after {len(self._labelled)} labels.")
        if not self._labelled:
            raise QueryDiffError(f"No label arrived for {len(self._sent)} frames of {self._topic}.")

    def _statistics(self) -> dict[str, Any]:
        """Return frames sent and labelled, rates in Hz, and latencies in milliseconds.

        A frame's stamp is its time in the drive; when the drive is played, that moment is its publication. Latency
        from stamp is from there to the arrival of its label in this process: both ways through DDS included.
        """
        arrived = [
            (self._labelled[stamp] - sent) / 1e6 for stamp, sent in self._sent.items() if stamp in self._labelled
        ]
        sent = sorted(self._sent.values())
        return {
            "frames_published": len(self._sent),
            "frames_labelled": len(arrived),
            "drop_rate": 1 - len(arrived) / len(self._sent),
            "rate_wanted_hz": self._wanted_rate(),
            "rate_published_hz": _rate(sent),
            "rate_labelled_hz": _rate(sorted(self._labelled.values())),
            "latency_from_stamp_ms": {
                "max" if p == 100 else f"p{p}": round(float(np.percentile(arrived, p)), 2) for p in PERCENTILES
            },
        }

    def _wanted_rate(self) -> float | None:
        recorded = _rate(sorted(self._sent))
        return round(recorded * self._rate, 3) if recorded and self._rate else None


def _rate(times_ns: list[int]) -> float | None:
    """Return events a second, None for fewer than two."""
    if len(times_ns) < 2 or times_ns[0] == times_ns[-1]:
        return None
    return round((len(times_ns) - 1) / (times_ns[-1] - times_ns[0]) * 1e9, 3)
