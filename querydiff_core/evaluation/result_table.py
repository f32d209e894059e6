"""Show scores in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from rich.console import Console
from rich.table import Table

from querydiff_core.evaluation.confusion_scores import ConfusionScores
from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.result import Result
from querydiff_core.utils.terminal import console, percent

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
    title = f"{result.model['file']}: IoU by class, %"
    _print_in_parts(terminal, result.domains, lambda domains: _scores(title, domains))
    _print_in_parts(terminal, [domain for domain in result.domains if domain.calibration], _by_threshold)


def _print_in_parts(
    terminal: Console, domains: Sequence[DomainResult], table_of: Callable[[Sequence[DomainResult]], Table]
) -> None:
    """Print as many tables as are needed for no number to be cut off, where the terminal is narrow."""

    def width(table: Table) -> int:
        endless = terminal.options.update(width=10_000)
        return terminal.measure(table, options=endless).minimum

    while domains:
        count = len(domains)
        while count > 1 and width(table_of(domains[:count])) > terminal.width:
            count -= 1
        terminal.print(table_of(domains[:count]))
        domains = domains[count:]


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


def _scores(title: str, domains: Sequence[DomainResult]) -> Table:
    table = Table(title=title, title_justify="left")
    names = [*(name for name, _ in SCORES), *(name for domain in domains for name in domain.iou_by_class)]
    table.add_column("class", no_wrap=True, min_width=max(map(len, names)))  # rich would crop to the longest word
    for domain in domains:
        _add_domain(table, domain.name)
    _add_classes(table, domains)
    table.add_section()
    for score, attribute in SCORES:
        style = "bold" if attribute == "miou" else ""
        table.add_row(score, *(percent(getattr(domain, attribute)) for domain in domains), style=style)
    table.add_row("images", *map(images, domains))
    return table


def _add_domain(table: Table, name: str) -> None:
    """Add a column whose name may wrap between its words, and whose numbers are whole."""
    words = name.replace("_", " ").split()
    table.add_column(" ".join(words), justify="right", min_width=max(7, *map(len, words)))


def _by_threshold(domains: Sequence[DomainResult]) -> Table:
    """Tabulate mIoU of the pixels at or above thresholds of confidence, and the share of pixels that this keeps."""
    table = Table(title="mIoU above a threshold of confidence, % (pixels kept)", title_justify="left")
    table.add_column("confidence", no_wrap=True)
    for domain in domains:
        _add_domain(table, domain.name)
    kept = [domain.calibration.by_threshold for domain in domains if domain.calibration]
    for index in THRESHOLDS:
        cells = (f"{percent(miou)} ({percent(share)})" for _, share, miou in (each[index] for each in kept))
        table.add_row(f"≥ {index / 15:.2f}", *cells)
    return table


def images(domain: DomainResult) -> str:
    """Return how many images were scored, and of how many if the run was cut short."""
    of = domain.extra.get("cut_short_of")
    return f"{domain.images} of {of}" if of else str(domain.images)
