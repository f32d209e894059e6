"""Show scores in the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from rich.console import Console
from rich.table import Table

from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.iou import ConfusionScores
from querydiff_core.evaluation.result import Result
from querydiff_core.utils.terminal import console

SCORES = (
    ("mIoU", "miou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("mean class accuracy", "class_accuracy"),
    ("calibration error (ECE)", "ece"),
)
THRESHOLDS = (0, 6, 9, 12, 14)
"""Fifteenths of confidence that a table shows."""


def print_result(result: Result, terminal: Console | None = None) -> None:
    """Print a column of percents for each domain: IoU by class, the scores over all classes, and by confidence."""
    terminal = terminal or console()
    terminal.print(_scores(result))
    if any(domain.calibration for domain in result.domains):
        terminal.print(_by_threshold(result))


def print_iou(columns: Mapping[str, ConfusionScores], title: str) -> None:
    """Print one column of IoU in percent by class (the same classes in all), the mean at the bottom."""
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("class", footer="mIoU")
    for name, scores in columns.items():
        table.add_column(name, footer=percent(scores.miou), justify="right")
    _add_classes(table, list(columns.values()))
    console().print(table)


def _add_classes(table: Table, columns: Sequence[ConfusionScores]) -> None:
    """Add a row for each class that any of the columns has."""
    by_class = [scores.iou_by_class for scores in columns]
    for name in dict.fromkeys(name for iou in by_class for name in iou):
        if any(iou.get(name) is not None for iou in by_class):
            table.add_row(name, *(percent(iou.get(name)) for iou in by_class))


def _scores(result: Result) -> Table:
    table = Table(title=f"{result.model['file']}: IoU by class, %", title_justify="left")
    table.add_column("class", no_wrap=True)
    for domain in result.domains:
        table.add_column(domain.name.replace("_", " "), justify="right")  # so that a long name wraps between words
    _add_classes(table, result.domains)
    table.add_section()
    for title, attribute in SCORES:
        style = "bold" if attribute == "miou" else ""
        table.add_row(title, *(percent(getattr(domain, attribute)) for domain in result.domains), style=style)
    table.add_row("images", *map(images, result.domains))
    return table


def _by_threshold(result: Result) -> Table:
    """Tabulate mIoU of the pixels at or above thresholds of confidence, and the share of pixels that this keeps."""
    table = Table(title="mIoU above a threshold of confidence, % (pixels kept)", title_justify="left")
    table.add_column("confidence", no_wrap=True)
    calibrated = [domain for domain in result.domains if domain.calibration]
    for domain in calibrated:
        table.add_column(domain.name.replace("_", " "), justify="right")
    kept = [domain.calibration.by_threshold for domain in calibrated if domain.calibration]
    for index in THRESHOLDS:
        cells = (f"{percent(miou)} ({percent(share)})" for _, share, miou in (each[index] for each in kept))
        table.add_row(f"≥ {index / 15:.2f}", *cells)
    return table


def percent(share: float | None) -> str:
    """Return a share as percent with one decimal, or a dash."""
    return "-" if share is None else f"{100 * share:.1f}"


def images(domain: DomainResult) -> str:
    """Return how many images were scored, and of how many if the run was cut short."""
    of = domain.extra.get("cut_short_of")
    return f"{domain.images} of {of}" if of else str(domain.images)
