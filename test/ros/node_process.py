"""Executables of this package, watched line by line."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Mapping

from watched_process import PATIENCE, WatchedProcess

from querydiff_ros.common.install_paths import executable_path


class NodeProcess(WatchedProcess):
    """An executable of this package as its own process, and every line that it prints."""

    def __init__(self, executable: str, *arguments: str, environment: Mapping[str, str] | None = None):
        super().__init__([executable_path(executable), *arguments], environment)

    def wait_for_line(self, text: str) -> str:
        """Return the first line that holds `text`, once it is there."""
        with self.printed:
            found = self.printed.wait_for(lambda: self.find(text) or self.process.poll() is not None, PATIENCE)
        assert found, f"waited in vain for {text!r}, got: {self.output}"
        line = self.find(text)
        assert line, f"ended without {text!r}: {self.output}"
        return line

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def stop(self) -> None:
        """End the process with a farewell, so that the next test does not meet its ghost in discovery."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def find(self, text: str) -> str:
        """Return the first line so far that holds `text`, or nothing."""
        return next((line for line in self.lines if text in line), "")
