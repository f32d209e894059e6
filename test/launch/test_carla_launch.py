"""`carla.launch.py` run for real beside the stand-in bridge: everything comes up, scores, and stops cleanly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engines import write_pixel_engine
from launch_process import PATIENCE, Launch, described_arguments
from rclpy.executors import SingleThreadedExecutor

from querydiff_core.evaluation.result import Result
from querydiff_ros.carla.interface import VERSIONS

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")


LAUNCH_FILE = "carla.launch.py"


@pytest.mark.parametrize("version", VERSIONS)
def test_scores_the_stand_in_and_writes_the_result(
    launch: Callable[..., Launch], observer: SingleThreadedExecutor, tmp_path: Path, version: str
) -> None:
    engine, output = write_pixel_engine(tmp_path / "pixel.onnx"), tmp_path / "result.json"
    named = ["namespace:=car", "cameras:=rear"] if version == "0.9.16" else []
    run = launch(f"carla_version:={version}", f"engine:={engine}", f"output:={output}", "stand_in:=true", *named)
    run.wait_for("Scoring began")
    if named:
        wait_for_listeners(observer, "/car/rear/label", {"/car/carla_evaluation", "/car/drivable_area"})
        wait_for_listeners(observer, "/car/rear/camera_info", {"/car/segment_node"})
        (corrects,) = observer.get_nodes()[0].get_publishers_info_by_topic("/car/rear/camera_info")
        assert corrects.node_name == "carla_camera_info"
    assert run.interrupt() == 0, run.output
    assert "Traceback" not in run.output
    assert "[ERROR]" not in run.output
    result = Result.load(output)
    assert result.images > 0
    assert result.data[0]["carla_version"] == version
    assert result.model["file"] == "pixel.onnx"


def wait_for_listeners(observer: SingleThreadedExecutor, topic: str, names: set[str]) -> None:
    """Wait until the nodes of these names, at least, listen to `topic`."""
    (node,), deadline, found = observer.get_nodes(), time.monotonic() + PATIENCE, set[str]()
    while not names <= found:
        assert time.monotonic() < deadline, f"{topic} is heard by {found}"
        observer.spin_once(timeout_sec=0.1)
        listeners = node.get_subscriptions_info_by_topic(topic)
        found = {f"{each.node_namespace.rstrip('/')}/{each.node_name}" for each in listeners}


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["carla_version:=0.9.16", "fov:=wide"], "Launch argument fov must be a number, found 'wide'."),
        (["carla_version:=0.9.10"], "carla_version must be one of 0.9.13 (carla-ros-bridge 0.9.13)"),
        (
            ["carla_version:=0.9.16", "cameras:=front,rear"],
            "carla.launch.py scores one camera, and launch argument cameras names 2: front, rear.",
        ),
    ],
)
def test_a_wrong_argument_is_one_sentence(launch: Callable[..., Launch], arguments: list[str], sentence: str) -> None:
    run = launch(*arguments)
    assert run.wait() != 0
    assert sentence in run.output
    assert not run.has_left_processes()


def test_every_argument_is_described() -> None:
    assert {"carla_version", "engine", "output", "fov", "stand_in", "rviz"} <= described_arguments(LAUNCH_FILE)
