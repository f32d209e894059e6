"""The names of topics, how they belong together, and the quality of service of latched ones."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import TYPE_CHECKING

from rclpy.exceptions import InvalidTopicNameException
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rclpy.validate_topic_name import validate_topic_name

from querydiff_core.errors import one_line

if TYPE_CHECKING:
    from rclpy.node import Node

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


def camera_topics(node: Node, camera: str, image: str = "", camera_info: str = "") -> tuple[str, str, str]:
    """Return the topics of `camera`'s raw and compressed images and of its calibration, as `node` names them.

    `image` and `camera_info` are names given for it. Compressed images and calibration lie where drivers put them,
    `<image>/compressed` and `camera_info` beside the images, and follow when the images are given or remapped.
    """
    raw = node.resolve_topic_name(image or topic_name(camera, "image"))
    moved = bool(image) or raw != node.resolve_topic_name(topic_name(camera, "image"), only_expand=True)
    compressed, calibration = f"{raw}/compressed", f"{raw.rpartition('/')[0]}/camera_info"
    own = [topic_name(camera, name) for name in ("image/compressed", "camera_info")]
    remapped = [node.resolve_topic_name(name) for name in own]
    plain = [node.resolve_topic_name(name, only_expand=True) for name in own]
    if not moved or remapped[0] != plain[0]:
        compressed = remapped[0]
    if not moved or remapped[1] != plain[1]:
        calibration = remapped[1]
    return raw, compressed, node.resolve_topic_name(camera_info) if camera_info else calibration


def topic_name(camera: str, name: str) -> str:
    """Return the topic `name` of `camera`, which may have no namespace of its own."""
    return f"{camera}/{name}" if camera else name


def topic_fault(topic: str) -> str | None:
    """Return why ROS takes no topic of this name, None if it does."""
    try:
        validate_topic_name(topic)
    except InvalidTopicNameException as error:
        return one_line(error, only=0).removeprefix("Invalid topic name: ").rstrip(":")
    return None
