"""Watch the labels that answer a camera's frames."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

if TYPE_CHECKING:
    from rclpy.node import Node

    from querydiff_ros.bag_reader import BagTopic

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")


def label_topic(image_topic: str) -> str | None:
    """Return the topic of the labels that answer `<camera>/image[/compressed]`; None for any other name."""
    match = re.fullmatch(r"(.*/)image(/compressed)?", image_topic)
    return f"{match[1]}label" if match else None


def camera_images(topics: Iterable[BagTopic]) -> list[str]:
    """Return the names of the image topics that a `label_topic` answers."""
    return [topic.name for topic in topics if topic.msgtype in IMAGE_TYPES and label_topic(topic.name)]


def stamp_ns(message: bytes) -> int:
    """Read the stamp, nanoseconds since the epoch, of a CDR message that begins with a std_msgs/Header."""
    little_endian = message[1] & 1
    seconds, nanoseconds = struct.unpack_from("<iI" if little_endian else ">iI", message, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


class LabelWatch:
    """Know which stamps have been labelled on one label topic.

    Until somebody publishes labels there is nothing to subscribe to: call `connect` until it is true. The
    subscription takes the publisher's own reliability, for a best-effort one may lose what a reliable one would not.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self.topic = topic
        self.stamps: set[int] = set()
        self._node = node
        self._subscription: Any = None

    def connect(self) -> bool:
        """Subscribe as soon as there is a publisher, and tell whether there is one."""
        publishers = self._node.get_publishers_info_by_topic(self._node.resolve_topic_name(self.topic))
        if self._subscription is None and publishers:
            reliable = all(p.qos_profile.reliability == QoSReliabilityPolicy.RELIABLE for p in publishers)
            quality = QoSReliabilityPolicy.RELIABLE if reliable else QoSReliabilityPolicy.BEST_EFFORT
            self._subscription = self._node.create_subscription(
                Image, self.topic, self._on_label, QoSProfile(depth=10, reliability=quality), raw=True
            )
        return bool(publishers)

    def _on_label(self, message: bytes) -> None:
        self.stamps.add(stamp_ns(message))
