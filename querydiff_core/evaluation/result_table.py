"""Show a result in the terminal."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.result import Result

SCORES = (
    ("mIoU", "miou"),
    ("pixel accuracy", "pixel_accuracy"),
    ("mean class accuracy", "class_accuracy"),
    ("calibration error (ECE)", "ece"),
)


def print_result(result: Result, console: Console | None = None) -> None:
    """Print a column of percents for each domain: IoU by class, then the scores over all classes."""
    table = Table(title=f"{result.model['file']}: IoU by class, %", title_justify="left")
    table.add_column("class", no_wrap=True)
    for domain in result.domains:
        table.add_column(domain.name.replace("_", " "), justify="right")  # so that a long name wraps between words
    by_class = [domain.iou_by_class for domain in result.domains]
    for name in dict.fromkeys(name for scores in by_class for name in scores):
        if any(scores.get(name) is not None for scores in by_class):
            table.add_row(name, *(percent(scores.get(name)) for scores in by_class))
    table.add_section()
    for title, attribute in SCORES:
        style = "bold" if attribute == "miou" else ""
        table.add_row(title, *(percent(getattr(domain, attribute)) for domain in result.domains), style=style)
    table.add_row("images", *map(images, result.domains))
    (console or Console()).print(table)


def percent(share: float | None) -> str:
    """Return a share as percent with one decimal, or a dash."""
    return "-" if share is None else f"{100 * share:.1f}"


def images(domain: DomainResult) -> str:
    """Return how many images were scored, and of how many if the run was cut short."""
    of = domain.extra.get("cut_short_of")
    return f"{domain.images} of {of}" if of else str(domain.images)
