"""What tests over real DDS share: a domain of their own, a peer to talk to nodes with, and nodes to talk to."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import rclpy
from engines import write_pixel_engine
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy

from querydiff_ros.dds_profile import environment_with_dds_profile
from querydiff_ros.executable_path import executable_path
from querydiff_ros.segment_lifecycle_node import SegmentLifecycleNode

# Test processes that run at the same time must not hear each other, nor the network. ROS reads these when it starts.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.update(environment_with_dds_profile())

PATIENCE = 60.0
"""Seconds after which an event that was waited for will not come: the test fails then, never because of the time."""

RELIABLE = QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE)
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

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()


@pytest.fixture(scope="session")
def ros() -> Iterator[None]:
    rclpy.init(args=[])
    yield
    rclpy.try_shutdown()


@pytest.fixture
def peer(ros: None) -> Iterator[Peer]:
    peer = Peer()
    yield peer
    peer.close()


@pytest.fixture(scope="session")
def pixel_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An engine whose label is R % 19 and whose confidence is G."""
    return write_pixel_engine(tmp_path_factory.mktemp("engines") / "pixel.onnx")


@pytest.fixture(scope="session")
def slow_engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, at several frame intervals of a 60 Hz camera per inference."""
    return write_pixel_engine(tmp_path_factory.mktemp("engines") / "slow.onnx", work=800)


@pytest.fixture
def make_node(peer: Peer, pixel_engine: Path) -> Iterator[Callable[..., Any]]:
    """Return a maker of segment nodes in this process, spun by the peer's executor."""
    nodes: list[Any] = []

    def make(**parameters: Any) -> Any:
        chosen = {"engine": str(pixel_engine), "threads": 1, "diagnostics_period": 0.1, **parameters}
        node = SegmentLifecycleNode(parameter_overrides=[Parameter(name, value=v) for name, v in chosen.items()])
        peer.executor.add_node(node)
        nodes.append(node)
        return node

    yield make
    for node in nodes:
        peer.executor.remove_node(node)
        node.destroy_node()


@pytest.fixture
def make_active_node(make_node: Callable[..., Any]) -> Callable[..., Any]:
    """Return a maker of segment nodes that are already active."""

    def make(**parameters: Any) -> Any:
        node = make_node(**parameters, bring_up=True)
        node.bring_up_if_asked()
        return node

    return make


class NodeProcess:
    """An executable of this package as its own process, and every line that it prints."""

    def __init__(self, executable: str, *arguments: str, environment: Mapping[str, str] | None = None):
        command = [executable_path(executable), *arguments]
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._printed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for_line(self, text: str) -> str:
        """Return the first line that holds `text`, once it is there."""
        with self._printed:
            found = self._printed.wait_for(lambda: self.find(text) or self._process.poll() is not None, PATIENCE)
        assert found, f"waited in vain for {text!r}, got: {self.output}"
        line = self.find(text)
        assert line, f"ended without {text!r}: {self.output}"
        return line

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once the process has ended."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> None:
        """End the process with a farewell, so that the next test does not meet its ghost in discovery."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def find(self, text: str) -> str:
        """Return the first line so far that holds `text`, or nothing."""
        return next((line for line in self.lines if text in line), "")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._printed:
                self.lines.append(line)
                self._printed.notify_all()
        with self._printed:
            self._printed.notify_all()


@pytest.fixture
def start_process() -> Iterator[Callable[..., NodeProcess]]:
    """Return a starter of this package's executables, ended with the test."""
    processes: list[NodeProcess] = []

    def start(executable: str, *arguments: str, environment: Mapping[str, str] | None = None) -> NodeProcess:
        processes.append(NodeProcess(executable, *arguments, environment=environment))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()
