"""Launch files as processes, watched line by line."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import signal
import sys
from pathlib import Path

import psutil
from paths import REPOSITORY
from watched_process import WatchedProcess

LAUNCH_FOLDER = REPOSITORY / "launch"
PATIENCE = 90.0
"""Seconds after which what was waited for will not come."""
DOMAIN = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}

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


def described_arguments(launch_file: str) -> set[str]:
    """Return the names of the arguments of a launch file, all of which have a description."""
    specification = importlib.util.spec_from_file_location("launch_file", LAUNCH_FOLDER / launch_file)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    arguments = module.generate_launch_description().get_launch_arguments()
    assert all(argument.description for argument in arguments)
    return {argument.name for argument in arguments}


class Launch(WatchedProcess):
    """`ros2 launch` of one of our launch files, without ros2cli, and every line that it prints."""

    patience = PATIENCE

    def __init__(self, launch_file: str, log_folder: Path, *arguments: str):
        environment = {**os.environ, **DOMAIN, "ROS_LOG_DIR": str(log_folder)}
        super().__init__(
            [sys.executable, "-c", RUN, str(LAUNCH_FOLDER / launch_file), *arguments], environment, own_group=True
        )

    def wait_for(self, pattern: str, count: int = 1) -> str:
        """Return the first group of the last match of `pattern`, once there are `count`."""
        with self.printed:
            found = self.printed.wait_for(lambda: len(re.findall(pattern, self.output)) >= count, PATIENCE)
        assert found, f"waited in vain for {pattern!r}: {self.output}"
        return str(re.findall(pattern, self.output)[-1])

    def node(self, start: int = 1) -> psutil.Process:
        """Return the process of the node, once it has been started for the `start`-th time."""
        return psutil.Process(int(self.wait_for(r"segment_node-\d+\]: process started with pid \[(\d+)\]", start)))

    def interrupt(self) -> int:
        """Do what Ctrl-C does: signal launch and its children together."""
        os.killpg(self.pid, signal.SIGINT)
        return self.wait()

    def has_left_processes(self) -> bool:
        """Return whether something that it started lives on; to be asked once it has ended."""
        try:
            os.killpg(self.pid, 0)
        except ProcessLookupError:
            return False
        return True

    def stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self.process.wait(PATIENCE)
