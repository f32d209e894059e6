"""`labelled_points.launch.py` run for real: the node takes the arguments, and a wrong one is a sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from engines import write_pixel_engine
from launch_process import Launch, described_arguments

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")


LAUNCH_FILE = "labelled_points.launch.py"


def test_comes_up_with_its_arguments_and_stops_cleanly(launch: Callable[..., Launch], tmp_path: Path) -> None:
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    run = launch(
        f"engine:={engine}",
        "namespace:=vehicle",
        "points_topic:=/lidar",
        "camera_from_points:=0 0 0 0 0 0 1",
        "classes:=car, person",
    )
    run.wait_for("/vehicle/front/label and /lidar give /vehicle/front/labelled_points")
    assert run.interrupt() == 0, run.output
    assert "Traceback" not in run.output


@pytest.mark.parametrize(
    ("argument", "sentence"),
    [
        ("bring_up:=ture", "Launch argument bring_up must be true or false, found 'ture'."),
        ("tolerance:=little", "Launch argument tolerance must be a number, found 'little'."),
    ],
)
def test_a_wrong_argument_is_one_sentence_and_starts_nothing(
    launch: Callable[..., Launch], argument: str, sentence: str
) -> None:
    run = launch(argument)
    assert run.wait() != 0
    assert sentence in run.output
    assert not run.has_left_processes()


def test_a_wrong_class_is_one_sentence(launch: Callable[..., Launch]) -> None:
    run = launch("classes:=roda")
    run.wait_for("Parameter classes holds 'roda': expected some of road")
    assert "Traceback" not in run.output


def test_every_argument_is_described() -> None:
    assert {"depth_topic", "points_topic", "camera_from_points", "tolerance"} <= described_arguments(LAUNCH_FILE)
