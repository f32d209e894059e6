"""Print to a terminal, a file or a pipe without ever losing the work over it."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


def console(**options: Any) -> Console:
    """Return rich's console that prints names as they are: brackets are no markup, colons no emoji."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


@contextmanager
def lasting_streams() -> Iterator[Printed]:
    """Let nothing that is printed end the work: what stdout or stderr refuse is dropped, and can be asked for.

    A character that the terminal does not have is printed as its escape, such as \\u2265.
    """
    originals = sys.stdout, sys.stderr
    printed = _descriptor(1, sys.stdout)
    if sys.stdout is sys.__stdout__:  # else a test or a host program has its own
        sys.stdout = _text_stream(printed, sys.stdout)
    if sys.stderr is sys.__stderr__:
        sys.stderr = _text_stream(_descriptor(2, sys.stderr), sys.stderr)
    try:
        yield printed
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = originals


class Printed(io.FileIO):
    """A file descriptor that drops what it cannot write.

    Attributes:
        refused: why it dropped something first; None if it has not.
    """

    refused: OSError | None = None

    @property
    def exit_code(self) -> int:
        """What a command should exit with that was otherwise successful."""
        return 0 if self.refused is None else 141 if isinstance(self.refused, BrokenPipeError) else 1

    def write(self, data: Any) -> int:
        """Write all or a part of `data`, or drop it."""
        try:
            return super().write(data)
        except OSError as error:
            self.refused = self.refused or error
            return len(data)


def _descriptor(number: int, stream: Any) -> Printed:
    """Return descriptor `number`; that of a stream which was closed, as by `>&-`, may be another file's by now."""
    return Printed(os.devnull, "w") if stream is None else Printed(number, "w", closefd=False)


def _text_stream(raw: Printed, original: Any) -> io.TextIOWrapper:
    if original is not None:
        original.flush()
    lines = raw.isatty() or getattr(original, "line_buffering", False)
    encoding = getattr(original, "encoding", "utf-8")
    return io.TextIOWrapper(io.BufferedWriter(raw), encoding, "backslashreplace", line_buffering=lines)
