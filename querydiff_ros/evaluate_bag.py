"""The executable `evaluate_bag`: `querydiff evaluate-bag` for `ros2 run`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from querydiff_core.cli.main import exit_cleanly
from querydiff_ros.cli import evaluate_bag


def main(argv: Sequence[str] | None = None) -> None:
    """Evaluate bags and exit: 0 success, 1 user error, 130 interrupted."""
    exit_cleanly(lambda: evaluate_bag.main(sys.argv[1:] if argv is None else argv))
