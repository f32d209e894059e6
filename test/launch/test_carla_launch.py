"""`carla.launch.py` run for real beside the stand-in bridge: everything comes up, scores, and stops cleanly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from engines import write_pixel_engine
from launch_process import Launch, described_arguments

from querydiff_core.evaluation.result import Result
from querydiff_ros.carla.interface import VERSIONS

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")


LAUNCH_FILE = "carla.launch.py"


@pytest.mark.parametrize("version", VERSIONS)
def test_scores_the_stand_in_and_writes_the_result(launch: Callable[..., Launch], tmp_path: Path, version: str) -> None:
    engine, output = write_pixel_engine(tmp_path / "pixel.onnx"), tmp_path / "result.json"
    run = launch(f"carla_version:={version}", f"engine:={engine}", f"output:={output}", "stand_in:=true")
    run.wait_for("Scoring began")
    assert run.interrupt() == 0, run.output
    assert "Traceback" not in run.output
    result = Result.load(output)
    assert result.images > 0
    assert result.data[0]["carla_version"] == version
    assert result.model["file"] == "pixel.onnx"


def test_an_unknown_version_is_one_sentence(launch: Callable[..., Launch]) -> None:
    run = launch("carla_version:=0.9.10")
    assert run.wait() != 0
    assert "carla_version must be one of 0.9.13 (carla-ros-bridge 0.9.13)" in run.output


def test_every_argument_is_described() -> None:
    assert {"carla_version", "engine", "output", "fov", "stand_in", "rviz"} <= described_arguments(LAUNCH_FILE)
