"""A process that a test watches line by line."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Mapping, Sequence

PATIENCE = 60.0
"""Seconds after which an event that was waited for will not come: the test fails then, never because of the time."""


class WatchedProcess:
    """A command as a process of its own, and every line that it prints. `own_group`: children share its signals."""

    patience = PATIENCE

    def __init__(
        self, command: Sequence[str], environment: Mapping[str, str] | None = None, *, own_group: bool = False
    ) -> None:
        self.process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=own_group,
        )
        self.lines: list[str] = []
        self.printed = threading.Condition()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def output(self) -> str:
        return "".join(self.lines)

    def wait(self) -> int:
        """Return the exit code, once the process has ended."""
        code = self.process.wait(self.patience)
        self._reader.join(self.patience)
        return code

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            with self.printed:
                self.lines.append(line)
                self.printed.notify_all()
        with self.printed:
            self.printed.notify_all()
