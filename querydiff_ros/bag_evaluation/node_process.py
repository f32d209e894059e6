"""The segment node as a process of its own."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO

from querydiff_core.utils.stop_signal import StopSignal
from querydiff_ros.common.dds_profile import environment_with_dds_profile
from querydiff_ros.common.install_paths import executable_path

PATIENCE = 10.0
"""Seconds that the node has to end after Ctrl-C."""


class NodeProcess:
    """Run `segment_node` of this installation, brought up by itself, for the length of a `with` block.

    The block belongs to the main thread, which hears signals.

    Args:
        log: file that receives everything the node prints.
        parameters: its ROS parameters beside `bring_up`.
    """

    def __init__(self, log: Path, parameters: Mapping[str, object]) -> None:
        self.log = log
        self._parameters = {"bring_up": True, **parameters}
        self._file: IO[bytes]
        self._process: subprocess.Popen[bytes]

    def __enter__(self) -> NodeProcess:
        """Start the process."""
        assignments = [f"{name}:={json.dumps(value)}" for name, value in self._parameters.items()]
        ros_args = [word for assignment in assignments for word in ("-p", assignment)]
        environment = {**environment_with_dds_profile(), "PYTHONUNBUFFERED": "1"}
        self._file = self.log.open("wb")
        with StopSignal() as stop:  # an interrupt in the midst of this would leave a node that nobody ends
            self._process = subprocess.Popen(
                [executable_path("segment_node"), "--ros-args", *ros_args],
                stdin=subprocess.DEVNULL,
                stdout=self._file,
                stderr=subprocess.STDOUT,
                env=environment,
            )
        if stop.made:
            self.__exit__(None, None, None)
            raise KeyboardInterrupt
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Interrupt the process as Ctrl-C would, and end it by force if it does not listen."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        finally:
            self._file.close()

    def failed(self) -> bool:
        """Tell whether the process has ended or has logged an error."""
        return self._process.poll() is not None or any("[ERROR]" in line or "[FATAL]" in line for line in self._lines())

    def last_word(self) -> str:
        """Return the last error in the log, or else its last line."""
        lines = self._lines()
        errors = [line for line in lines if "[ERROR]" in line or "[FATAL]" in line]
        return (errors or lines or [f"nothing, and exit code {self._process.poll()}"])[-1]

    def _lines(self) -> list[str]:
        return [line.strip() for line in self.log.read_text(errors="replace").splitlines() if line.strip()]
