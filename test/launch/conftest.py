"""A launch file run for one test."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import rclpy
from launch_process import DOMAIN, Launch
from rclpy.executors import SingleThreadedExecutor


@pytest.fixture
def launch(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Callable[..., Launch]]:
    """Return a starter of the test module's LAUNCH_FILE, ended with the test."""
    started: list[Launch] = []

    def start(*arguments: str) -> Launch:
        started.append(Launch(request.module.LAUNCH_FILE, tmp_path / "log", *arguments))
        return started[-1]

    yield start
    for each in started:
        each.stop()


@pytest.fixture
def observer() -> Iterator[SingleThreadedExecutor]:
    """Return the executor of one node, which sees what the launch starts."""
    os.environ.update(DOMAIN)
    context = rclpy.Context()
    rclpy.init(args=[], context=context)
    node = rclpy.create_node("observer", context=context)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    yield executor
    executor.shutdown()
    node.destroy_node()
    rclpy.shutdown(context=context)
