"""What commands that score on labelled data take, and how they show where they are."""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from querydiff_core.evaluation.evaluation_source import EvaluationSource

METAVAR = "[NAME=]SET=ROOT[:SPLIT[:CONDITION]]"
"""A value of --data."""


def add_data_argument(parser: argparse.ArgumentParser, help: str) -> None:
    """Declare --data, which may be given several times."""
    parser.add_argument("--data", action="append", default=[], metavar=METAVAR, help=help)


def data_sources(texts: Sequence[str]) -> list[EvaluationSource]:
    """Return the domains that the values of --data ask for.

    Raises:
        QueryDiffError: if one is wrong, or a domain is asked for twice.
    """
    # Imported late: `--help` must stay fast.
    from querydiff_core.evaluation.evaluation_source import sources, unique_domains

    return unique_domains([source for text in texts for source in sources(text)])


@contextmanager
def evaluation_progress(images: int) -> Iterator[Callable[[], bool]]:
    """Yield a function to call after each image; it says whether to go on."""
    from querydiff_core.utils.stop_signal import StopSignal
    from querydiff_core.utils.terminal import progress

    done = itertools.count(1)
    with StopSignal() as stop, progress("evaluating", images) as report:

        def should_continue() -> bool:
            report(next(done))
            return not stop.made

        yield should_continue
