"""The subscriptions of one camera; they exist while the node is active."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CameraInfo, CompressedImage, Image

from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, dds_profile
from querydiff_ros.common.stamps import TRANSPORT_LAG, TransportTwins
from querydiff_ros.common.topics import LATCHED, camera_topics
from querydiff_ros.node.camera_frame import CameraFrame
from querydiff_ros.node.camera_statistics import CameraStatistics, Outcome
from querydiff_ros.node.segment_parameters import Parameters

try:
    from rclpy.event_handler import SubscriptionEventCallbacks, UnsupportedEventTypeError
except ImportError:  # Humble
    from rclpy.qos_event import SubscriptionEventCallbacks, UnsupportedEventTypeError

LOSSES_WORTH_A_WARNING = 10
CHECK_PERIOD = 1.0
"""Seconds between two looks for a latched calibration, until there is one."""
OTHER_TRANSPORT_FOR = 10.0
"""Seconds that a topic is left out for after a frame that cannot be read, while the other transport brings frames."""


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
        self._twins = TransportTwins()
        self._newest: dict[str, float] = {}
        self._unreadable: dict[str, float] = {}
        self._warned: set[str] = set()
        self._qos = QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=1,
            reliability=ReliabilityPolicy[parameters.input_reliability.upper()],
        )
        self._subscriptions: list[Subscription] = []
        image, compressed, self._camera_info = camera_topics(node, camera, *parameters.topics_of(camera))
        self._left_out = ""
        with ExitStack() as topics:  # left again should one of them be refused
            self._topics = topics
            self._subscribe(CameraInfo, self._camera_info, self._keep_calibration)
            for transport, kind, topic in (("raw", Image, image), ("compressed", CompressedImage, compressed)):
                if parameters.transport in (transport, "both"):
                    self._subscribe(kind, topic, self._receive)
                else:
                    self._left_out = topic
            steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand
            self._latched_check = node.create_timer(CHECK_PERIOD, self._hear_latched_calibration, clock=steady)
            topics.callback(node.destroy_timer, self._latched_check)
            self._topics = topics.pop_all()

    def close(self) -> None:
        """Stop receiving."""
        self._topics.close()

    def avoid(self, topic: str) -> None:
        """Leave a topic out for a while, one of whose frames cannot be read, if the other transport brings frames."""
        self._unreadable[topic] = time.monotonic()

    def problems(self) -> list[str]:
        """Return, one sentence a reason, why frames cannot arrive; each is logged when it is met first."""
        found = list(dict.fromkeys(problem for each in self._subscriptions for problem in self._mismatches(each)))
        images = [each.topic_name for each in self._subscriptions if each.msg_type is not CameraInfo]
        silent = not found and not any(map(self._node.count_publishers, images))
        if silent and self._left_out and self._node.count_publishers(self._left_out):
            found.append(f"{self._left_out} is published, which is not subscribed: set transport to both")
        for problem in found:
            if problem not in self._warned:
                self._warned.add(problem)
                self._logger.warning(f"{problem}.")
        return found or ([f"nobody publishes {' or '.join(images)}"] if silent else [])

    def _mismatches(self, subscription: Subscription) -> list[str]:
        """Return why publishers of a subscription's topic are not heard."""
        topic, expected, found = subscription.topic_name, _type_name(subscription.msg_type), []
        for publisher in self._node.get_publishers_info_by_topic(topic):
            if publisher.topic_type != expected:
                found.append(
                    f"{topic} is published as {publisher.topic_type} by {publisher.node_name}, expected {expected}: "
                    "nothing arrives from it; remap to another topic"
                )
            elif (
                publisher.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
                and self._qos.reliability == ReliabilityPolicy.RELIABLE
            ):
                found.append(
                    f"{topic} is published at best effort by {publisher.node_name}, which a reliable subscription does "
                    "not hear: set input_reliability to best_effort"
                )
        return found

    def _hear_latched_calibration(self) -> None:
        """Subscribe once more where the calibration is latched: what was sent before this node started comes so alone.

        Only then, for other publishers would warn of such a subscription.
        """
        publishers = self._node.get_publishers_info_by_topic(self._camera_info)
        if any(publisher.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for publisher in publishers):
            self._latched_check.cancel()
            self._subscribe(CameraInfo, self._camera_info, self._keep_calibration, LATCHED)

    def _subscribe(self, kind: type, topic: str, callback: Callable[..., None], qos: QoSProfile | None = None) -> None:
        subscription = self._subscription(kind, topic, callback, qos or self._qos)
        self._subscriptions.append(subscription)
        self._topics.callback(self._node.destroy_subscription, subscription)

    def _subscription(self, kind: type, topic: str, callback: Callable[..., None], qos: QoSProfile) -> Subscription:
        def receive(message: Any) -> None:
            callback(topic, message)

        def count_lost(event: Any) -> None:
            self._count_lost(topic, event.total_count_change)

        def say_nothing(event: Any) -> None:  # `problems` does
            pass

        try:
            events = SubscriptionEventCallbacks(
                message_lost=None if kind is CameraInfo else count_lost, incompatible_qos=say_nothing
            )
            return self._node.create_subscription(kind, topic, receive, qos, event_callbacks=events)
        except UnsupportedEventTypeError:  # this middleware does not tell what it loses
            return self._node.create_subscription(kind, topic, receive, qos)

    def _receive(self, topic: str, message: Image | CompressedImage) -> None:
        frame = CameraFrame(topic, message, time.monotonic())
        self._newest[topic] = frame.arrival
        if self._is_avoided(frame) or self._twins.has_come(topic, frame.stamp_ns, frame.arrival):
            return
        self._statistics.count(Outcome.RECEIVED)
        if self._twins.is_late(topic, frame.stamp_ns):
            self._statistics.count(Outcome.DROPPED)
            return
        self._twins.add(topic, frame.stamp_ns, frame.arrival)
        if self._offer(self._camera, frame):
            self._statistics.count(Outcome.DROPPED)

    def _is_avoided(self, frame: CameraFrame) -> bool:
        failed = self._unreadable.get(frame.topic, -math.inf)
        if frame.arrival - failed >= OTHER_TRANSPORT_FOR:
            return False
        others = [topic for topic in self._newest if self._unreadable.get(topic, -math.inf) < failed]
        heard = [topic for topic in others if frame.arrival - self._newest[topic] < TRANSPORT_LAG]
        if heard and frame.topic not in self._warned:
            self._warned.add(frame.topic)
            self._logger.warning(f"{heard[0]} is used instead of {frame.topic}, which cannot be read.")
        return bool(heard)

    def _keep_calibration(self, _: str, message: CameraInfo) -> None:
        self.calibration = message

    def _count_lost(self, topic: str, frames: int) -> None:
        self._statistics.count(Outcome.LOST, frames)
        lost = self._statistics.total(Outcome.LOST)
        if lost >= LOSSES_WORTH_A_WARNING and "lost" not in self._warned:
            self._warned.add("lost")
            self._logger.warning(
                f"{lost} frames of {topic} were lost between its publisher and this node: start both with "
                f"{PROFILE_VARIABLES[0]}={dds_profile()} (docs/nodes.md)."
            )


def _type_name(kind: Any) -> str:
    package = kind.__module__.split(".")[0]
    return f"{package}/msg/{kind.__name__}"
