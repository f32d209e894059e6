"""The executable `record_drive`: `querydiff record-drive` for `ros2 run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from querydiff_core.cli.main import exit_cleanly
from querydiff_ros.cli import record_drive


def main(argv: Sequence[str] | None = None) -> None:
    """Record a folder as a bag and exit: 0 success, 1 user error, 130 interrupted."""
    exit_cleanly(lambda: record_drive.main(sys.argv[1:] if argv is None else argv))
