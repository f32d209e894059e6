"""The executable `replay_drive`: `querydiff replay` for `ros2 run` and launch files."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from querydiff_core.cli.main import exit_cleanly
from querydiff_ros.cli import replay


def main(argv: Sequence[str] | None = None) -> None:
    """Play a bag and exit: 0 success, 1 user error, 130 interrupted."""
    exit_cleanly(lambda: replay.main(sys.argv[1:] if argv is None else argv))
