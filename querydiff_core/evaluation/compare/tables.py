"""A comparison as tables of text: for the terminal and for the page."""

from __future__ import annotations

from typing import NamedTuple

from rich.table import Table

from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.evaluation.compare.published import COLUMNS, NOTE, PUBLISHED
from querydiff_core.evaluation.result_table import SCORES, THRESHOLDS, images
from querydiff_core.utils.terminal import console, percent


class TextTable(NamedTuple):
    """`head` and `rows` of cells; all but the first column are numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""


def miou_table(comparison: Comparison) -> TextTable:
    """Return mIoU by domain, a row for each result."""
    domains = comparison.domains
    rows = [
        [name, *(percent(comparison.miou(name, domain)) for domain in domains), percent(comparison.mean_miou(name))]
        for name in comparison.names
    ]
    return TextTable("mIoU by domain, %", ["result", *domains, "mean"], rows, "The mean is over what all have.")


def difference_table(comparison: Comparison, a: str, b: str) -> TextTable:
    """Return the difference of mIoU by domain with its interval."""
    rows = []
    for domain in comparison.domains:
        found = comparison.difference(a, b, domain)
        if found is None:
            rows.append([domain, "-", "-", "not scored by both", "-"])
            continue
        interval = f"{100 * found.low:+.2f} to {100 * found.high:+.2f}"
        verdict = "unclear" if not found.clear else "better" if found.low > 0 else "worse"
        images_are = "the same" if found.paired else "different"
        rows.append([domain, f"{100 * found.difference:+.2f}", interval, verdict, images_are])
    note = (
        "95 % interval of a bootstrap over images with 2000 draws, in pairs where the images are the same; unclear: it "
        "holds 0."
    )
    head = ["domain", "difference", "95 % interval", "verdict", "images"]
    return TextTable(f"{b} less {a}, points of mIoU", head, rows, note)


def scores_table(comparison: Comparison) -> TextTable:
    """Return all scores over all classes, a row for each result and domain."""
    rows = [
        [f"{name}, {domain.name}", *(percent(getattr(domain, score)) for _, score in SCORES), images(domain)]
        for name, result in comparison.results.items()
        for domain in result.domains
    ]
    return TextTable("Accuracy and calibration, %", ["result", *(title for title, _ in SCORES), "images"], rows)


def threshold_table(comparison: Comparison) -> TextTable:
    """Return the mIoU of what is left above thresholds of confidence, and how much is left."""
    rows = []
    for name, result in comparison.results.items():
        for domain in result.domains:
            if domain.calibration:
                kept = [domain.calibration.by_threshold[index] for index in THRESHOLDS]
                cells = [f"{percent(miou)} ({100 * share:.1f} % left)" for _, share, miou in kept]
                rows.append([f"{name}, {domain.name}", *cells])
    head = ["result", *(f"≥ {index / 15:.2f}" for index in THRESHOLDS)]
    note = "Pixels below the threshold are left out, as if the model had abstained."
    return TextTable("mIoU above a threshold of confidence, %", head, rows, note)


def published_table() -> TextTable:
    """Return what others have published, marked as such."""
    rows = [
        [f"{method}, {backbone} †", *("" if miou is None else f"{miou:.1f}" for miou in mious)]
        for method, backbone, mious in PUBLISHED
    ]
    return TextTable("Published references, not measured here", ["method", *COLUMNS], rows, f"† {NOTE}")


def print_tables(tables: list[TextTable]) -> None:
    """Print tables to the terminal."""
    terminal = console()
    for text in tables:
        table = Table(title=text.title, title_justify="left", caption=text.note or None, caption_justify="left")
        table.add_column(text.head[0])
        for name in text.head[1:]:
            table.add_column(name.replace("_", " "), justify="right")  # so that a long name wraps between words
        for row in text.rows:
            table.add_row(*row)
        terminal.print(table)
