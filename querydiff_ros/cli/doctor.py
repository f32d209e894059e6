"""The subcommand `querydiff doctor`: what this machine has, and what to do about what it lacks."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from querydiff_core.doctor import Check

SUMMARY = "check this machine: engines, GPU, weights, ROS, DDS and the kernel"

STYLES = {"ok": ("ok", "green"), "absent": ("-", "dim"), "warning": ("warn", "yellow"), "fault": ("FAIL", "bold red")}


def main(argv: Sequence[str]) -> int:
    """Print a line for each check; 0 if the default model runs, else 1."""
    parser().parse_args(argv)
    from itertools import chain

    from querydiff_core.doctor import engine_checks
    from querydiff_ros.common.ros_checks import ros_checks

    states = []
    for check in chain(engine_checks(), ros_checks()):
        _show(check)
        states.append(check.state)
    if "fault" in states:
        print("The default model does not run here: see FAIL above.")
        return 1
    warnings = states.count("warning")
    print(f"The default model runs here{f'; {warnings} warnings' if warnings else ''}.")
    return 0


def _show(check: Check) -> None:
    from rich.text import Text

    from querydiff_core.utils.terminal import console

    word, style = STYLES[check.state]
    line = Text.assemble((f"{word:5}", style), f"{check.name:15} {check.found}")
    if check.advice:
        line.append(f" -> {check.advice}", "cyan")
    console().print(line, soft_wrap=True)


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    return argparse.ArgumentParser(
        prog="querydiff doctor",
        description="Look at everything that the node needs of a machine and print a line for each: its state, what "
        "was found, and what to do. ok; - is absent and not needed; warn; FAIL: the default model does not run, and "
        "the exit code is 1.",
    )
