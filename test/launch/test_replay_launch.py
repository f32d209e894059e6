"""`replay.launch.py` run for real: node and replay come up together, and both end with the bag."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from engines import write_pixel_engine

from querydiff_ros.drive_recording import DriveRecorder

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")

LAUNCH_FILE = Path(__file__).parents[2] / "launch" / "replay.launch.py"

RUN = """
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

arguments = [argument.split(":=") for argument in sys.argv[2:]]
include = IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]), launch_arguments=arguments)
service = LaunchService()
service.include_launch_description(LaunchDescription([include]))
sys.exit(service.run())
"""


def test_every_frame_is_labelled_and_everything_ends(tmp_path: Path) -> None:
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    with DriveRecorder(tmp_path / "bag", camera="rear") as recorder:
        for index in range(8):
            recorder.write(10**18 + index * 10**8, np.full((24, 40, 3), index, np.uint8))
    arguments = [f"bag:={tmp_path / 'bag'}", f"engine:={engine}", "cameras:=rear", "lockstep:=true", "rate:=0"]
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    result = subprocess.run(
        [sys.executable, "-c", RUN, str(LAUNCH_FILE), *arguments],
        env={**os.environ, **domain, "ROS_LOG_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    printed = result.stdout + result.stderr
    assert result.returncode == 0, printed
    assert "8 of 8 frames labelled." in printed
    assert "Traceback" not in printed
