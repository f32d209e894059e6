"""The subscriptions of one camera; they exist while the node is active."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, dds_profile
from querydiff_ros.common.topics import topic_name
from querydiff_ros.node.camera_frame import CameraFrame
from querydiff_ros.node.camera_statistics import CameraStatistics, Outcome
from querydiff_ros.node.segment_parameters import Parameters

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

LOSSES_WORTH_A_WARNING = 10
REMEMBERED_FRAMES = 30
"""How far one transport may lag behind the other before its frames pass for new ones."""


class CameraInput:
    """Receive one camera's frames and hand on each that is new, unopened: the callback must cost nothing."""

    def __init__(
        self,
        node: Node,
        camera: str,
        parameters: Parameters,
        statistics: CameraStatistics,
        offer: Callable[[str, CameraFrame], bool],
    ):
        self.calibration: CameraInfo | None = None
        self._node = node
        self._camera = camera
        self._logger = node.get_logger()
        self._statistics = statistics
        self._offer = offer
        self._recent: deque[tuple[str, int]] = deque(maxlen=REMEMBERED_FRAMES)  # topics and stamps
        self._warned: set[str] = set()
        self._qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=1,
            reliability=ReliabilityPolicy[parameters.input_reliability.upper()],
        )
        self._subscriptions: list[Subscription] = []
        with ExitStack() as topics:  # left again should one of them be refused
            self._topics = topics
            self._subscribe(CameraInfo, "camera_info", self._keep_calibration)
            if parameters.transport in ("raw", "both"):
                self._subscribe(Image, "image", self._receive)
            if parameters.transport in ("compressed", "both"):
                self._subscribe(CompressedImage, "image/compressed", self._receive)
            self._topics = topics.pop_all()

    def close(self) -> None:
        """Stop receiving."""
        self._topics.close()

    def warn_of_foreign_types(self) -> None:
        """Say once for each topic whose publisher sends another message type, which the middleware never delivers."""
        for subscription in self._subscriptions:
            topic, expected = subscription.topic_name, _type_name(subscription.msg_type)
            for publisher in self._node.get_publishers_info_by_topic(topic):
                if publisher.topic_type != expected and topic not in self._warned:
                    self._warned.add(topic)
                    self._logger.warning(
                        f"{topic} is published as {publisher.topic_type} by {publisher.node_name}, expected "
                        f"{expected}: nothing arrives from it; remap to another topic."
                    )

    def _subscribe(self, kind: type, name: str, callback: Callable[..., None]) -> None:
        subscription = self._subscription(kind, topic_name(self._camera, name), callback)
        self._subscriptions.append(subscription)
        self._topics.callback(self._node.destroy_subscription, subscription)

    def _subscription(self, kind: type, name: str, callback: Callable[..., None]) -> Subscription:
        topic = self._node.resolve_topic_name(name)

        def receive(message: Any) -> None:
            callback(topic, message)

        def count_lost(event: Any) -> None:
            self._count_lost(topic, event.total_count_change)

        try:
            events = SubscriptionEventCallbacks(message_lost=None if kind is CameraInfo else count_lost)
            return self._node.create_subscription(kind, name, receive, self._qos, event_callbacks=events)
        except UnsupportedEventTypeError:  # this middleware does not tell what it loses
            return self._node.create_subscription(kind, name, receive, self._qos)

    def _receive(self, topic: str, message: Image | CompressedImage) -> None:
        frame = CameraFrame(topic, message, time.monotonic())
        if any(stamp == frame.stamp_ns and other != topic for other, stamp in self._recent):
            return  # the same frame again, by the other transport
        self._recent.append((topic, frame.stamp_ns))
        self._statistics.count(Outcome.RECEIVED)
        if self._offer(self._camera, frame):
            self._statistics.count(Outcome.DROPPED)

    def _keep_calibration(self, _: str, message: CameraInfo) -> None:
        self.calibration = message

    def _count_lost(self, topic: str, frames: int) -> None:
        self._statistics.count(Outcome.LOST, frames)
        lost = self._statistics.total(Outcome.LOST)
        if lost >= LOSSES_WORTH_A_WARNING and "lost" not in self._warned:
            self._warned.add("lost")
            self._logger.warning(
                f"{lost} frames of {topic} were lost between its publisher and this node: start both with "
                f"{PROFILE_VARIABLES[0]}={dds_profile()}, or set input_reliability to reliable (docs/nodes.md)."
            )


def _type_name(kind: Any) -> str:
    package = kind.__module__.split(".")[0]
    return f"{package}/msg/{kind.__name__}"
