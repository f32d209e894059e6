"""`replay.launch.py` run for real: node and replay come up together, and both end with the bag."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from engines import write_pixel_engine
from launch_process import Launch

from querydiff_ros.bags.bag_recorder import DriveRecorder

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")


LAUNCH_FILE = "replay.launch.py"


def test_every_frame_is_labelled_and_everything_ends(launch: Callable[..., Launch], tmp_path: Path) -> None:
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    with DriveRecorder(tmp_path / "bag", camera="rear") as recorder:
        for index in range(8):
            recorder.write(10**18 + index * 10**8, np.full((24, 40, 3), index, np.uint8))
    arguments = [f"bag:={tmp_path / 'bag'}", f"engine:={engine}", "cameras:=rear", "lockstep:=true", "rate:=0"]
    run = launch(*arguments)
    assert run.wait() == 0, run.output
    assert "8 of 8 frames labelled." in run.output
    assert "Traceback" not in run.output


def test_an_interrupt_ends_everything_cleanly(launch: Callable[..., Launch], tmp_path: Path) -> None:
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    with DriveRecorder(tmp_path / "bag") as recorder:
        for index in range(8):
            recorder.write(10**18 + index * 10**8, np.full((24, 40, 3), index, np.uint8))
    run = launch(f"bag:={tmp_path / 'bag'}", f"engine:={engine}", "loop:=true")
    run.wait_for("Active.")
    assert run.interrupt() == 0, run.output
    assert "Traceback" not in run.output
    assert "process has died" not in run.output
