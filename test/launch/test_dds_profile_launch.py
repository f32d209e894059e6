"""`dds_profile.launch.py` included before a driver: the driver runs with the profile."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from launch_process import DOMAIN, LAUNCH_FOLDER, PATIENCE

from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, dds_profile

pytest.importorskip("launch_ros.actions", reason="launch_ros comes with a ROS distribution only")

ROBOT = f"""
import sys
from launch import LaunchDescription, LaunchService
from launch.actions import ExecuteProcess, IncludeLaunchDescription
from launch.launch_description_sources import PythonLaunchDescriptionSource

show = "import os; print([os.environ.get(name) for name in {PROFILE_VARIABLES!r}])"
include = IncludeLaunchDescription(PythonLaunchDescriptionSource(sys.argv[1]))
service = LaunchService()
driver = ExecuteProcess(cmd=[sys.executable, "-c", show], output="screen")
service.include_launch_description(LaunchDescription([include, driver]))
sys.exit(service.run())
"""


@pytest.mark.parametrize("chosen", [{}, {"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}])
def test_a_driver_started_after_it_has_the_profile_unless_the_user_chose(
    tmp_path: Path, chosen: dict[str, str]
) -> None:
    bare = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    environment = {**bare, **DOMAIN, **chosen, "ROS_LOG_DIR": str(tmp_path)}
    command = [sys.executable, "-c", ROBOT, str(LAUNCH_FOLDER / "dds_profile.launch.py")]
    run = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=True)
    expected = None if chosen else str(dds_profile())
    assert str([expected] * len(PROFILE_VARIABLES)) in run.stdout + run.stderr
