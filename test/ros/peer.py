"""The other side of every conversation with a node."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from watched_process import PATIENCE

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
EVERYTHING = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
BEST_EFFORT = QoSProfile(depth=10, reliability=ReliabilityPolicy.BEST_EFFORT)


class Peer:
    """A node of the test's own: publishes, collects what arrives by topic, and waits for it."""

    def __init__(self) -> None:
        self.node = Node("peer")
        self.executor = SingleThreadedExecutor()
        self.executor.add_node(self.node)
        self.received: dict[str, list[Any]] = {}

    def publisher(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> Any:
        return self.node.create_publisher(kind, topic, qos)

    def subscribe(self, kind: type, topic: str, qos: QoSProfile = RELIABLE) -> list[Any]:
        messages: list[Any] = self.received.setdefault(topic, [])
        self.node.create_subscription(kind, topic, messages.append, qos)
        return messages

    def wait_for(self, event: Callable[[], Any], what: str = "event") -> Any:
        """Spin until `event` returns something true, and return that."""
        deadline = time.monotonic() + PATIENCE
        while not (result := event()):
            assert time.monotonic() < deadline, f"waited in vain for {what}"
            self.executor.spin_once(timeout_sec=0.1)
        return result

    def wait_for_match(self, *publishers: Any) -> None:
        """Spin until every publisher has a subscriber."""
        self.wait_for(lambda: all(p.get_subscription_count() for p in publishers), "a subscriber")

    def call(self, kind: type, service: str, request: Any) -> Any:
        client = self.node.create_client(kind, service)
        self.wait_for(client.service_is_ready, service)
        future = client.call_async(request)
        self.wait_for(future.done, f"an answer from {service}")
        self.node.destroy_client(client)
        return future.result()

    def label_of(self, kind: type, topic: str, message: Any, output: str = "/front/label") -> Image:
        """Publish `message` until all ends have found each other, and return the label that answers it."""
        labels = self.subscribe(Image, output)
        camera = self.publisher(kind, topic)
        self.wait_for_match(camera)
        label: Image = self.wait_for(lambda: (camera.publish(message), labels)[1], "a label")[0]
        return label

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
