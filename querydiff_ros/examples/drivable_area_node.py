"""An example of what a planner does with labels and their confidence; `drivable_area` runs it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray, MultiArrayDimension, MultiArrayLayout

from querydiff_core.label_space import cityscapes
from querydiff_ros.common.image_conversions import BadFrame, image_message, mono8_images
from querydiff_ros.common.node_parameters import declare_parameters, parameter, unknown_class
from querydiff_ros.common.stamps import EqualStamps, header_stamp_ns
from querydiff_ros.common.topics import topic_name

QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
WAITING = 5
"""Further stamps that a label waits for its confidence: the node publishes one right after the other."""
CHECK_PERIOD, COMPLAINT_PERIOD = 1.0, 10.0
DRIVABLE = 255


@dataclass(frozen=True)
class DrivableAreaParameters:
    """The parameters of `drivable_area`."""

    camera: str = parameter("front", "Namespace of the camera.")
    classes: tuple[str, ...] = parameter(
        ("road",), "Names of the classes that may be driven on.", problem=unknown_class
    )
    min_confidence: float = parameter(0.5, "Pixels less certain than this are not drivable.", between=(0.0, 1.0))


class DrivableAreaNode(Node):
    """Publish, for each label with its confidence: a mask, and the share of every class.

    Raises:
        QueryDiffError: if a parameter is wrong.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("drivable_area", automatically_declare_parameters_from_overrides=True, **node_options)
        params = declare_parameters(self, DrivableAreaParameters)
        self._drivable = _table(params.classes)
        self._least = int(np.ceil(params.min_confidence * 255))
        label, confidence = (topic_name(params.camera, name) for name in ("label", "confidence"))
        self._inputs = label, confidence
        self._pairs = EqualStamps[Image](self._inputs, WAITING)
        self._mask = self.create_publisher(Image, topic_name(params.camera, "drivable_area"), QOS)
        self._fractions = self.create_publisher(Float32MultiArray, topic_name(params.camera, "class_fractions"), QOS)
        for topic in self._inputs:
            self._subscribe(topic)

        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand
        self.create_timer(CHECK_PERIOD, self._complain, clock=steady)

    def _complain(self) -> None:
        for topic in self._pairs.silent():
            others = ", ".join(self._pairs.newest)
            self.get_logger().warning(
                f"Nothing is published: {topic} brings no images, {others} does. segment_node sends confidence unless "
                "publish_confidence is false or its engine has none.",
                throttle_duration_sec=COMPLAINT_PERIOD,
            )

    def _subscribe(self, topic: str) -> None:
        self.create_subscription(Image, topic, lambda message: self._on_image(topic, message), QOS)

    def _on_image(self, topic: str, message: Image) -> None:
        pair = self._pairs.add(topic, header_stamp_ns(message.header), message)
        if pair is None:
            return
        try:
            labels, confidence = mono8_images({name: pair[name] for name in self._inputs})
        except BadFrame as reason:
            self.get_logger().warning(f"{reason}.", throttle_duration_sec=COMPLAINT_PERIOD)
            return
        mask = drivable_area(labels, confidence, self._drivable, self._least)
        self._mask.publish(image_message(mask, "mono8", message.header))
        self._fractions.publish(_fractions_message(class_fractions(labels)))


def drivable_area(labels: np.ndarray, confidence: np.ndarray, drivable: np.ndarray, least: int) -> np.ndarray:
    """Return 255 where `labels` may be driven on with `confidence` at least `least`, else 0; all uint8 `(H, W)`.

    `drivable`: uint8 `(256,)`, 255 for the trainIds that may be driven on.
    """
    mask: np.ndarray = drivable[labels]
    mask[confidence < least] = 0
    return mask


def class_fractions(labels: np.ndarray) -> np.ndarray:
    """Return the share of uint8 `labels` `(H, W)` that each class covers, float32 `(19,)`; the rest is unlabelled."""
    counts = np.bincount(labels.ravel(), minlength=256)[: len(cityscapes())]
    return (counts / labels.size).astype(np.float32)


def _table(classes: Sequence[str]) -> np.ndarray:
    table = np.zeros(256, np.uint8)
    table[[cityscapes().names.index(name) for name in classes]] = DRIVABLE
    return table


def _fractions_message(fractions: np.ndarray) -> Float32MultiArray:
    dimension = MultiArrayDimension(label="class", size=fractions.size, stride=fractions.size)
    return Float32MultiArray(layout=MultiArrayLayout(dim=[dimension]), data=fractions.tolist())
