"""The names of topics, how they belong together, and the quality of service of latched ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

if TYPE_CHECKING:
    from querydiff_ros.bags.bag_reader import BagTopic

IMAGE_TYPES = ("sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage")
CONDITION_TOPIC = "/condition"
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def label_topic(image_topic: str) -> str | None:
    """Return the topic of the labels that answer `<camera>/image[/compressed]`; None for any other name."""
    match = re.fullmatch(r"(.*/)image(/compressed)?", image_topic)
    return f"{match[1]}label" if match else None


def camera_images(topics: Iterable[BagTopic]) -> list[str]:
    """Return the names of the image topics that a `label_topic` answers."""
    return [topic.name for topic in topics if topic.msgtype in IMAGE_TYPES and label_topic(topic.name)]


def topic_name(camera: str, name: str) -> str:
    """Return the topic `name` of `camera`, which may have no namespace of its own."""
    return f"{camera}/{name}" if camera else name
