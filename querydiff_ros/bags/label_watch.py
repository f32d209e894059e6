"""Watch the labels that answer a camera's frames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rclpy.qos import QoSProfile, QoSReliabilityPolicy
from sensor_msgs.msg import Image

from querydiff_ros.common.stamps import TransportTwins, stamp_ns

if TYPE_CHECKING:
    from rclpy.node import Node


class LabelWatch:
    """Know which stamps have been labelled on one label topic.

    Until somebody publishes labels there is nothing to subscribe to: call `connect` until it is true. The
    subscription takes the publisher's own reliability, for a best-effort one may lose what a reliable one would not.

    Attributes:
        stamps: of the labels that came.
        answered: the camera's frames that got their label.
    """

    def __init__(self, node: Node, topic: str) -> None:
        self.topic = topic
        self.stamps: set[int] = set()
        self.answered = TransportTwins()
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

    def hears(self, image_topic: str) -> bool:
        """Tell whether a node that publishes the labels listens to `image_topic`."""
        resolve = self._node.resolve_topic_name
        publishers = self._node.get_publishers_info_by_topic(resolve(self.topic))
        listeners = self._node.get_subscriptions_info_by_topic(resolve(image_topic))
        named = ({(each.node_namespace, each.node_name) for each in ends} for ends in (publishers, listeners))
        return bool(set.intersection(*named))

    def _on_label(self, message: bytes) -> None:
        self.stamps.add(stamp_ns(message))
