"""`segment.launch.py` run for real: the node comes up active, comes back after a crash, and stops cleanly."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from engines import write_pixel_engine
from launch_process import PATIENCE, Launch, described_arguments
from lifecycle_msgs.srv import GetState
from rclpy.executors import SingleThreadedExecutor

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")


LAUNCH_FILE = "segment.launch.py"


@pytest.fixture
def wait_until_active(observer: SingleThreadedExecutor) -> Callable[[str], None]:
    """Return a function that waits until the node of that name is active, asked over its own service."""

    def wait(node: str) -> None:
        client, deadline = (
            observer.get_nodes()[0].create_client(GetState, f"{node}/get_state"),
            time.monotonic() + PATIENCE,
        )
        while time.monotonic() < deadline:
            if client.wait_for_service(timeout_sec=1):
                answer = client.call_async(GetState.Request())
                observer.spin_until_future_complete(answer, timeout_sec=1)  # in vain if it has just been killed
                if answer.done() and answer.result().current_state.label == "active":
                    return
        raise AssertionError(f"{node} does not become active")

    return wait


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pixel_engine(tmp_path_factory.mktemp("engines") / "pixel.onnx")


def test_comes_up_with_its_arguments_and_stops_cleanly(
    launch: Callable[..., Launch], engine: Path, wait_until_active: Callable[[str], None]
) -> None:
    pushed = "ros_namespace:=/fleet"  # what PushRosNamespace sets for launch files that it goes before
    run = launch(pushed, f"engine:={engine}", "cameras:=left, right", "namespace:=vehicle", "log_level:=info")
    wait_until_active("/fleet/vehicle/segment_node")
    run.wait_for("cameras 'left', 'right'")
    environment = run.node().environ()
    assert environment["FASTRTPS_DEFAULT_PROFILES_FILE"].endswith("fastdds_large_images.xml")
    assert {"__ns:=/fleet/vehicle", "fleet.vehicle.segment_node:=info"} <= {*run.node().cmdline()}
    assert run.interrupt() == 0
    assert any("process has finished cleanly" in line for line in run.lines)
    assert not any("Traceback" in line for line in run.lines)


def test_comes_back_active_after_a_crash(
    launch: Callable[..., Launch], engine: Path, wait_until_active: Callable[[str], None]
) -> None:
    run = launch(f"engine:={engine}")
    wait_until_active("/segment_node")
    run.node().kill()
    assert run.node(start=2).is_running()
    wait_until_active("/segment_node")
    assert run.interrupt() == 0


def test_takes_a_parameter_file_which_arguments_override(
    launch: Callable[..., Launch], engine: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    engine: {engine}\n    cameras: [from_file]\n")
    run = launch(f"params_file:={file}")
    run.wait_for("cameras 'from_file'")
    run.interrupt()
    run = launch(f"params_file:={file}", "cameras:=from_argument")
    run.wait_for("cameras 'from_argument'")
    run.interrupt()


def test_a_missing_engine_is_one_sentence_and_the_node_lives(launch: Callable[..., Launch]) -> None:
    run = launch("engine:=/nowhere.onnx")
    run.wait_for("Cannot configure: No model file /nowhere.onnx")
    assert run.node().is_running()
    assert run.interrupt() == 0


def test_every_argument_is_described() -> None:
    described = described_arguments(LAUNCH_FILE)
    assert {"engine", "provider", "cuda_graphs", "fallback"} <= described
    assert {"cameras", "namespace", "params_file", "log_level"} <= described


def test_a_parameter_file_overrides_what_no_argument_says(
    launch: Callable[..., Launch], engine: Path, tmp_path: Path
) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(f"/**:\n  ros__parameters:\n    engine: {engine}\n    bring_up: false\n    use_sim_time: true\n")
    run = launch(f"params_file:={file}")
    run.wait_for("waiting for a lifecycle manager")
    run.interrupt()
    run = launch(f"params_file:={file}", "bring_up:=true")
    run.wait_for("cameras 'front'")
    run.interrupt()


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("bring_up:=ture", "Launch argument bring_up must be true or false, found 'ture'."),
        ("cameras:=front,", "Launch argument cameras holds an empty name, found 'front,'"),
        ("params_file:=/nowhere.yaml", "Launch argument params_file names no file: /nowhere.yaml."),
    ],
)
def test_a_wrong_argument_is_refused_by_name(launch: Callable[..., Launch], argument: str, sentence: str) -> None:
    run = launch(argument)
    assert run.wait() != 0
    assert sentence in run.output


def test_a_driver_of_another_name_needs_no_remapping(launch: Callable[..., Launch], engine: Path) -> None:
    run = launch(f"engine:={engine}", "image_topic:=/usb/image_raw")
    run.wait_for("cameras 'front'")
    run.wait_for("Active.")
    assert run.interrupt() == 0
