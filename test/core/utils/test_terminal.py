"""How far a work is, on a terminal and in a log."""

import os
import pty
import re
import subprocess
import sys
import time

import pytest

from querydiff_core.utils import terminal
from querydiff_core.utils.terminal import progress, tracked


@pytest.fixture
def soon(monkeypatch):
    monkeypatch.setattr(terminal, "FIRST_LINE", 0.01)
    monkeypatch.setattr(terminal, "NEXT_LINE", 0.01)


def line_with(sign, capsys):
    """Wait for a line on stderr that holds `sign`."""
    said = ""
    while not (found := [line for line in said.splitlines() if sign in line]):
        time.sleep(0.01)
        said += capsys.readouterr().err
    return found[0]


@pytest.mark.parametrize(
    ("total", "expected"),
    [
        (8, r"labelling a\.mp4: 2 of 8, \d:\d\d:\d\d left"),
        (1, r"labelling a\.mp4: 2 of 1, 0:00:00 left"),  # more than was known
        (None, r"labelling a\.mp4: 2 done, \d:\d\d:\d\d so far"),
    ],
)
def test_a_log_gets_lines_now_and_then(soon, capsys, total, expected):
    with progress("labelling", total) as report:
        assert re.fullmatch(r"labelling: \d:\d\d:\d\d so far", line_with("so far", capsys))
        report(2, "a.mp4")
        assert re.fullmatch(expected, line_with("a.mp4", capsys))
    capsys.readouterr()
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_a_short_work_leaves_no_line(capsys):
    assert list(tracked(iter("abc"), "reading", 3)) == ["a", "b", "c"]
    assert capsys.readouterr() == ("", "")


def test_what_is_tracked_says_how_many_there_are(soon, capsys):
    for letter in tracked("abcd", "reading"):
        if letter == "c":
            assert line_with("2 of 4", capsys).startswith("reading: 2 of 4, ")


def test_a_terminal_gets_a_bar_on_stderr():
    script = """
import time
from querydiff_core.utils.terminal import tracked
for each in tracked(range(3), "labelling [b] {x}"):
    time.sleep(0.2)
print("done")"""
    reader, writer = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=writer, env=environment, text=True, check=True
    )
    os.close(writer)
    shown = os.read(reader, 65536).decode()
    os.close(reader)
    assert done.stdout == "done\n"
    assert "labelling [b] {x}" in shown
    assert "━" in shown
    assert "2/3" in shown
