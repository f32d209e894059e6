"""The arguments of commands that show on a page what they label."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from querydiff_core.live_view.live_view import LiveView

PORT = 8000


def add_view_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare --view and --view-port."""
    add = parser.add_argument_group("page in the browser").add_argument
    add("--view", action="store_true", help="show input, overlay and confidence on a local page as frames come")
    add("--view-port", type=_port, metavar="PORT", help=f"serve it there, 0: any free port (default: {PORT})")


@contextmanager
def opened_view(arguments: argparse.Namespace) -> Iterator[LiveView | None]:
    """Yield the page that the arguments ask for, None for none, and say its address.

    On a terminal the page stays after the work until Enter or Ctrl-C: whoever labels one photograph wants to see it.

    Raises:
        QueryDiffError: if the port cannot be had.
    """
    if not (arguments.view or arguments.view_port is not None):
        yield None
        return
    from querydiff_core.live_view.live_view import LiveView

    with LiveView(PORT if arguments.view_port is None else arguments.view_port) as view:
        print(f"Watch at {view.address}", flush=True)
        yield view
        view.end()
        if sys.stdin.isatty() and sys.stdout.isatty():
            try:
                input(f"Done. {view.address} stays until you press Enter. ")
            except (EOFError, KeyboardInterrupt):
                print()


def _port(text: str) -> int:
    if not text.isdigit() or int(text) > 65535:
        raise argparse.ArgumentTypeError(f"must be 0 to 65535, found {text}")
    return int(text)
