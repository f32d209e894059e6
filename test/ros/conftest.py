"""What tests over real DDS share: a domain of their own, a peer, and nodes for it to talk to."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import rclpy
from engines import write_pixel_engine
from node_process import NodeProcess
from peer import Peer
from rclpy.node import Node
from rclpy.parameter import Parameter
from short_drive import Replay, record

from querydiff_ros.common.dds_profile import environment_with_dds_profile
from querydiff_ros.node.segment_node import SegmentNode

# Test processes that run at the same time must not hear each other, nor the network. ROS reads these when it starts.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
os.environ.update(environment_with_dds_profile())


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
def spin(peer: Peer) -> Iterator[Callable[[Node], Any]]:
    """Return a function that lets the peer spin a node too, until the test ends."""
    nodes: list[Node] = []

    def add(node: Node) -> Node:
        peer.executor.add_node(node)
        nodes.append(node)
        return node

    yield add
    for node in nodes:
        peer.executor.remove_node(node)
        node.destroy_node()


@pytest.fixture
def make_node(spin: Callable[[Node], Any], pixel_engine: Path) -> Callable[..., Any]:
    """Return a maker of segment nodes in this process, spun by the peer's executor."""

    def make(**parameters: Any) -> Any:
        chosen = {"engine": str(pixel_engine), "threads": 1, "diagnostics_period": 0.1, **parameters}
        return spin(SegmentNode(parameter_overrides=[Parameter(name, value=v) for name, v in chosen.items()]))

    return make


@pytest.fixture
def make_active_node(make_node: Callable[..., Any]) -> Callable[..., Any]:
    """Return a maker of segment nodes that are already active."""

    def make(**parameters: Any) -> Any:
        node = make_node(**parameters, bring_up=True)
        node.bring_up_if_asked()
        return node

    return make


@pytest.fixture
def bag(tmp_path: Path) -> Path:
    return record(tmp_path / "bag")


@pytest.fixture
def replay(peer: Peer) -> Iterator[Callable[..., Replay]]:
    """Return a starter of replays, ended with the test."""
    replays: list[Replay] = []

    def start(*arguments: object) -> Replay:
        replays.append(Replay(peer, *arguments))
        return replays[-1]

    yield start
    for each in replays:
        each.process.kill()
        each.process.communicate()


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
