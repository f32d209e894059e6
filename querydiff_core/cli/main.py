# PYTHON_ARGCOMPLETE_OK
"""The `querydiff` command: finds the subcommand, runs it, and turns user errors into one sentence."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.metadata import entry_points, version

from querydiff_core.cli.completion import complete, is_asked
from querydiff_core.errors import QueryDiffError, described, one_line
from querydiff_core.utils.terminal import lasting_streams


def main(argv: Sequence[str] | None = None) -> None:
    """Run `querydiff SUBCOMMAND ...` and exit: 0 success, 1 user error, 2 wrong usage, 130 interrupted.

    A subcommand is a module with a one-line `SUMMARY`, `parser()` and `main(argv) -> int`, declared in the entry-point
    group `querydiff.subcommands`; that is how `querydiff_ros` adds subcommands without `querydiff_core` knowing of it.
    """
    arguments = list(sys.argv[1:] if argv is None else argv)
    exit_cleanly(lambda: _dispatch(arguments))


def exit_cleanly(command: Callable[[], int]) -> None:
    """Run `command` and exit with its code; a user error prints one sentence, Ctrl-C prints none of its traceback.

    What cannot be printed does not end the work: 141, as by SIGPIPE, where the reader (head, less) has gone, else 1.
    """
    with lasting_streams() as printed:
        code = _exit_code(command)
        if printed.refused and not isinstance(printed.refused, BrokenPipeError):
            print(f"error: Not everything could be printed: {printed.refused.strerror}.", file=sys.stderr)
    sys.exit(code or printed.exit_code)


def _exit_code(command: Callable[[], int]) -> int:
    try:
        return command()
    except QueryDiffError as error:
        print(f"error: {described(error)}", file=sys.stderr)
        return 1
    except OSError as error:  # such as a full disk or a folder that cannot be made, wherever it was met
        name = f"{error.filename}: " if error.filename else ""
        print(f"error: {name}{one_line(error)}.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130


def _dispatch(arguments: list[str]) -> int:
    subcommands = {point.name: point.value for point in entry_points(group="querydiff.subcommands")}
    if is_asked():
        complete(subcommands)
        return 0
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
