"""The `querydiff` command: finds the subcommand, runs it, and turns user errors into one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points, version

from querydiff_core.errors import QueryDiffError, described


def main(argv: Sequence[str] | None = None) -> None:
    """Run `querydiff SUBCOMMAND ...` and exit: 0 success, 1 user error, 2 wrong usage, 130 interrupted.

    A subcommand is a module with a one-line `SUMMARY` and `main(argv) -> int`, declared in the entry-point group
    `querydiff.subcommands`; that is how `querydiff_ros` adds subcommands without `querydiff_core` knowing of it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    exit_cleanly(lambda: _dispatch(arguments))


def exit_cleanly(command: Callable[[], int]) -> None:
    """Run `command` and exit with its code; a user error prints one sentence, Ctrl-C prints none of its traceback."""
    try:
        sys.exit(command())
    except QueryDiffError as error:
        print(f"error: {described(error)}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output (head, less) has gone
        sys.stderr.close()
        sys.exit(141)


def _dispatch(arguments: list[str]) -> int:
    subcommands = {point.name: point.value for point in entry_points(group="querydiff.subcommands")}
    if not arguments or arguments[0] in ("-h", "--help"):
        print(_help(subcommands))
        return 0
    if arguments[0] == "--version":
        print(f"querydiff {version('querydiff_ros')}")
        return 0
    subcommand, *rest = arguments
    if subcommand not in subcommands:
        print(f"error: No subcommand {subcommand}: expected one of {', '.join(sorted(subcommands))}.", file=sys.stderr)
        return 2
    return int(import_module(subcommands[subcommand]).main(rest))


def _help(subcommands: dict[str, str]) -> str:
    rows = [f"  {name:14} {import_module(module).SUMMARY}" for name, module in sorted(subcommands.items())]
    return "\n".join(
        [
            "usage: querydiff SUBCOMMAND [options]",
            "",
            "Segment camera streams through weather: train, label, judge and deploy.",
            "",
            *rows,
            "",
            "`querydiff SUBCOMMAND --help` explains a subcommand.",
        ]
    )
