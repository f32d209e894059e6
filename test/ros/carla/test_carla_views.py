"""The RViz configuration and the Foxglove layout show topics that exist, in panels that are laid out."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import yaml
from carla_run import evaluation_node
from paths import REPOSITORY
from peer import Peer
from rclpy.node import Node

from querydiff_ros.carla.interface import RGB, carla_interface
from querydiff_ros.examples.drivable_area_node import DrivableAreaNode

CONFIG = REPOSITORY / "config"
LAYOUT = json.loads((CONFIG / "foxglove" / "carla.json").read_text())
RVIZ = yaml.safe_load((CONFIG / "rviz" / "carla.rviz").read_text())


@pytest.fixture
def topics(peer: Peer, make_active_node: Any) -> dict[str, list[str]]:
    """Return the types of all topics of the nodes that carla.launch.py starts, and of the camera."""
    make_active_node()
    started: list[Node] = [evaluation_node("0.9.13"), DrivableAreaNode()]
    found = dict(peer.wait_for(lambda: _with_all(peer.node), "all topics"))
    for node in started:
        node.destroy_node()
    return {**found, "/carla/rgb": ["sensor_msgs/msg/Image"]}  # remapped by the launch file


def _with_all(node: Node) -> list[tuple[str, list[str]]]:
    found = node.get_topic_names_and_types()
    camera = (carla_interface("0.9.13").topic(RGB), ["sensor_msgs/msg/Image"])
    expected = {"/front/overlay", "/front/drivable_area", "/carla_evaluation/scores", "/diagnostics"}
    return [*found, camera] if expected <= {name for name, _ in found} else []


def test_rviz_shows_images_that_exist(topics: dict[str, list[str]]) -> None:
    displays = RVIZ["Visualization Manager"]["Displays"]
    assert [display["Name"] for display in displays] == ["Camera", "Overlay", "Confidence", "Drivable area"]
    for display in displays:
        assert topics[display["Topic"]["Value"]] == ["sensor_msgs/msg/Image"]


def test_foxglove_shows_topics_that_exist(topics: dict[str, list[str]]) -> None:
    text = json.dumps(LAYOUT["configById"])
    shown = set(re.findall(r'"(/[\w/]+)(?:\.data(?:\[\d+\])?)?"', text))
    assert {"/front/overlay", "/front/confidence", "/front/class_fractions", "/diagnostics"} <= shown
    assert shown <= topics.keys()


def test_every_foxglove_panel_is_laid_out_once() -> None:
    def panels(tree: Any) -> list[str]:
        return [tree] if isinstance(tree, str) else panels(tree["first"]) + panels(tree["second"])

    assert sorted(panels(LAYOUT["layout"])) == sorted(LAYOUT["configById"])
