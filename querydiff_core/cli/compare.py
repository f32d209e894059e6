"""The subcommand `querydiff compare`: results side by side, in numbers and in pictures."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import check_writable

if TYPE_CHECKING:
    from querydiff_core.evaluation.compare.comparison import Comparison
    from querydiff_core.evaluation.compare.difference_panels import Panel
    from querydiff_core.evaluation.result import Result

PAGE = "comparison.html"
SUMMARY = "compare results of `querydiff evaluate` side by side"


def main(argv: Sequence[str]) -> int:
    """Print the tables and write the page, its charts, pictures and numbers; 0 on success."""
    arguments = parser().parse_args(argv)
    if arguments.panels < 0:
        raise QueryDiffError(f"--panels must be 0 or more, found {arguments.panels}.")
    check_writable(arguments.output / PAGE)
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_core.evaluation.compare.comparison import Comparison

    comparison = Comparison.of([_named(text) for text in arguments.results])
    try:
        _write(arguments.output, comparison, arguments.panels, arguments.published)
    finally:  # a folder that can no longer be written costs no numbers
        _print(comparison, arguments.published)
    print(f"{arguments.output / PAGE} shows it all; PNG pictures and scores.csv lie beside it.")
    return 0


def _named(text: str) -> tuple[str, Result]:
    from querydiff_core.evaluation.result import Result

    name, equals, file = text.partition("=")
    if not equals or Path(text).is_file():
        name, file = Path(text).stem, text
    if not name:
        raise QueryDiffError(f"{text}: expected NAME=RESULT.json or RESULT.json.")
    return name, Result.load(file)


def _print(comparison: Comparison, published: bool) -> None:
    from querydiff_core.evaluation.compare.tables import (
        difference_table,
        miou_table,
        print_tables,
        published_table,
    )

    first, *others = comparison.names
    tables = [miou_table(comparison), *(difference_table(comparison, first, name) for name in others)]
    print_tables(tables + ([published_table()] if published else []))


def _write(folder: Path, comparison: Comparison, panels: int, published: bool) -> None:
    from querydiff_core.evaluation.compare.charts import bar_chart, heat_map
    from querydiff_core.evaluation.compare.csv_file import write_csv
    from querydiff_core.evaluation.compare.html_page import write_page
    from querydiff_core.utils.image_files import write_image
    from querydiff_core.utils.plots import picture

    drawn = _panels(comparison, panels) if panels else []  # or refused before anything is written
    write_csv(folder / "scores.csv", comparison, published)
    for old in (*folder.glob("panel_[0-9][0-9].png"), *folder.glob("gain*.png")):  # of a comparison before
        old.unlink()
    write_image(folder / "miou.png", picture(bar_chart(comparison)))
    first, *others = comparison.names
    for number, name in enumerate(others, 1):
        suffix = "" if len(others) == 1 else f"_{number}"
        write_image(folder / f"gain{suffix}.png", picture(heat_map(comparison, first, name)))
    for number, panel in enumerate(drawn, 1):
        write_image(folder / f"panel_{number:02d}.png", panel.picture)
    write_page(folder / PAGE, comparison, drawn, published)


def _panels(comparison: Comparison, count: int) -> list[Panel]:
    from querydiff_core.evaluation.compare.difference_panels import difference_panels
    from querydiff_core.utils.terminal import tracked

    a, b = comparison.names[:2]
    panels = difference_panels(comparison.results[a], comparison.results[b], (a, b), count)
    return list(tracked(panels, "drawing panels", count))


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff compare",
        description="Hold results against the first: mIoU by domain with the confidence interval of the difference, "
        "gain by class and domain, calibration, and pictures of where they differ most.",
        epilog="example: querydiff compare old=old.json new=new.json --output build/comparison --panels 6",
    )
    add = parser.add_argument
    add("results", nargs="+", metavar="[NAME=]RESULT.json", help="what `querydiff evaluate` wrote; names: the files'")
    add("--output", type=Path, required=True, metavar="DIR", help="folder for comparison.html, pictures and scores.csv")
    add("--panels", type=int, default=0, metavar="N", help="draw the N images where the first two differ most")
    add("--published", action="store_true", help="add what others have published, marked as published")
    return parser
