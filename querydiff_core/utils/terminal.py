"""Print to a terminal, a file or a pipe without ever losing the work over it."""

from __future__ import annotations

import io
import os
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from operator import length_hint
from threading import Event, Thread
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

if TYPE_CHECKING:
    from rich.console import Console

T = TypeVar("T")
_AFTER = os.environ.get("QUERYDIFF_PROGRESS_AFTER", "")
FIRST_LINE, NEXT_LINE = float(_AFTER) if _AFTER.isdecimal() else 5.0, 30.0
"""Seconds until the first line about a long work, and between two of them, where no terminal shows a bar. The
environment can put off the first one, for scripts that read all of stderr."""


def console(**options: Any) -> Console:
    """Return rich's console that prints names as they are: brackets are no markup, colons no emoji."""
    from rich.console import Console

    return Console(markup=False, emoji=False, highlight=False, **options)


def percent(share: float | None) -> str:
    """Return a share as percent with one decimal, or a dash."""
    return "-" if share is None else f"{100 * share:.1f}"


class Report(Protocol):
    """Takes how much of a work is done, and what it is at now."""

    def __call__(self, done: float, now: str = "") -> None:
        """Take `done`, from 0 to the total, and the name of what is being worked on."""


@contextmanager
def progress(what: str, total: float | None = None) -> Iterator[Report]:
    """Show on stderr how far a work is: a bar on a terminal, elsewhere a line after 5 s and every half minute.

    `what`: as in "labelling". `total`: what is all, None where that is not known.
    """
    errors = console(stderr=True)
    with _bar(errors, what, total) if errors.is_terminal else _lines(what, total) as report:
        yield report


def tracked(items: Iterable[T], what: str, total: int | None = None) -> Iterator[T]:
    """Yield `items` under `progress`; `total`: their number, where they do not know it themselves."""
    with progress(what, total or length_hint(items) or None) as report:
        for done, item in enumerate(items, 1):
            yield item
            report(done)


@contextmanager
def _bar(errors: Console, what: str, total: float | None) -> Iterator[Report]:
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    name = TextColumn("{task.description}", markup=False)
    count = (TimeElapsedColumn(),) if total is None else (MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(name, BarColumn(), *count, console=errors, transient=True) as bars:
        task = bars.add_task(what, total=total)
        yield lambda done, now="": bars.update(task, completed=done, description=f"{what} {now}".rstrip())


@contextmanager
def _lines(what: str, total: float | None) -> Iterator[Report]:
    start, ended = time.monotonic(), Event()
    name, count = what, 0.0

    def follow() -> None:
        due = FIRST_LINE
        while not ended.wait(due):
            print(_line(name, count, total, time.monotonic() - start), file=sys.stderr, flush=True)
            due = NEXT_LINE

    def report(done: float, now: str = "") -> None:
        nonlocal name, count
        name, count = f"{what} {now}".rstrip(), done

    thread = Thread(target=follow, daemon=True)
    thread.start()
    try:
        yield report
    finally:
        ended.set()
        thread.join()


def _line(name: str, done: float, total: float | None, passed: float) -> str:
    if total and done:
        return (
            f"{name}: {done:.0f} of {total:.0f}, {timedelta(seconds=round(passed / done * max(0, total - done)))} left"
        )
    return f"{name}: {f'{done:.0f} done, ' if done else ''}{timedelta(seconds=round(passed))} so far"


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
