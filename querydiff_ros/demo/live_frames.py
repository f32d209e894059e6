"""The frames that the node labels, on the page that shows them as they pass."""

from __future__ import annotations

import time
from bisect import bisect_right
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String

from querydiff_core.label_space import cityscapes
from querydiff_core.live_view.live_view import LiveView, ShownFrame
from querydiff_ros.bag_evaluation.bag_frames import BagFrames
from querydiff_ros.bag_evaluation.output_spool import CONFIDENCE, LABEL
from querydiff_ros.bags.bag_reader import BagMessage
from querydiff_ros.common.image_conversions import mono8_pixels
from querydiff_ros.common.stamps import stamp_ns
from querydiff_ros.node.camera_frame import CameraFrame


@dataclass
class _Passing:
    """A frame on its way: what was sent, as number `number`, and what came back, by kind."""

    message: BagMessage
    number: int
    sent: float = field(default_factory=time.monotonic)
    outputs: dict[str, bytes] = field(default_factory=dict)
    latency: float = 0.0


class LiveFrames:
    """Put together what is sent to the node in lockstep and what it answers, and show it.

    Nothing is decoded here: the page does that for frames that somebody looks at.
    """

    def __init__(self, view: LiveView, frames: BagFrames, model: str) -> None:
        bag, topics = frames.bag, frames.topics
        self._view = view
        self._facts = {"model": model, "source": bag.path.name, "total": bag.topics[topics.image].count}
        self._kind = Image if bag.topics[topics.image].msgtype == "sensor_msgs/msg/Image" else CompressedImage
        said = list(bag.messages({topics.condition})) if topics.condition else []
        self._changes = [message.time_ns for message in said]
        self._conditions = ["", *(deserialize_message(message.data, String).data for message in said)]
        self._passing: dict[int, _Passing] = {}  # by stamp, the oldest first
        self._sent = 0

    def sent(self, message: BagMessage) -> None:
        """Take an image that is about to be published."""
        self.show(but=1)  # an engine without confidence leaves older frames as they are
        self._sent += 1
        self._passing[stamp_ns(message.data)] = _Passing(message, self._sent)

    def received(self, kind: str, message: bytes) -> None:
        """Take what the node published."""
        stamp = stamp_ns(message)
        passing = self._passing.get(stamp)
        if passing is None:
            return
        passing.outputs[kind] = message
        if kind == LABEL:
            passing.latency = time.monotonic() - passing.sent
        if len(passing.outputs) == len((LABEL, CONFIDENCE)):
            self.show(but=len(self._passing) - 1 - list(self._passing).index(stamp))

    def show(self, but: int = 0) -> None:
        """Show the frames that have their labels, but for the newest, whose confidence may still be on its way."""
        for stamp in list(self._passing)[: len(self._passing) - but]:
            passing = self._passing.pop(stamp)
            if LABEL in passing.outputs:
                self._view.show(partial(self._shown, passing))

    def _shown(self, passing: _Passing) -> ShownFrame:
        message = passing.message
        frame = CameraFrame(message.topic, deserialize_message(message.data, self._kind), passing.sent)
        facts = {
            **self._facts,
            "number": passing.number,
            "condition": self._conditions[bisect_right(self._changes, message.time_ns)],
            "latency_ms": 1000 * passing.latency,
        }
        labels, confidence = (_pixels(passing.outputs.get(kind)) for kind in (LABEL, CONFIDENCE))
        assert labels is not None
        return ShownFrame(frame.rgb(), labels, confidence, cityscapes(), facts)


def _pixels(data: bytes | None) -> np.ndarray | None:
    return None if data is None else mono8_pixels(deserialize_message(data, Image))
