"""Executables of this package, watched line by line."""

from __future__ import annotations

import signal
import subprocess
import threading
from collections.abc import Mapping

from peer import PATIENCE

from querydiff_ros.common.install_paths import executable_path


class NodeProcess:
    """An executable of this package as its own process, and every line that it prints."""

    def __init__(self, executable: str, *arguments: str, environment: Mapping[str, str] | None = None):
        command = [executable_path(executable), *arguments]
        self._process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._printed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait_for_line(self, text: str) -> str:
        """Return the first line that holds `text`, once it is there."""
        with self._printed:
            found = self._printed.wait_for(lambda: self.find(text) or self._process.poll() is not None, PATIENCE)
        assert found, f"waited in vain for {text!r}, got: {self.output}"
        line = self.find(text)
        assert line, f"ended without {text!r}: {self.output}"
        return line

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def wait(self) -> int:
        """Return the exit code, once the process has ended."""
        code = self._process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        return code

    def stop(self) -> None:
        """End the process with a farewell, so that the next test does not meet its ghost in discovery."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self.wait()
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise

    def find(self, text: str) -> str:
        """Return the first line so far that holds `text`, or nothing."""
        return next((line for line in self.lines if text in line), "")

    def _read(self) -> None:
        assert self._process.stdout
        for line in self._process.stdout:
            with self._printed:
                self.lines.append(line)
                self._printed.notify_all()
        with self._printed:
            self._printed.notify_all()
