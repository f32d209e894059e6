"""Show scores in the terminal."""

from __future__ import annotations

from collections.abc import Mapping

from rich.console import Console
from rich.table import Table

from querydiff_core.evaluation.confusion_matrix import ConfusionMatrix


def print_scores(matrices: Mapping[str, ConfusionMatrix], title: str | None = None) -> None:
    """Print one column of IoU in percent for each matrix (all over the same classes), the mean at the bottom."""
    columns = list(matrices.values())
    table = Table(title=title, title_justify="left", show_footer=True)
    table.add_column("class", footer="mIoU")
    for name, matrix in matrices.items():
        table.add_column(name, footer=_percent(matrix.miou), justify="right")
    for class_name in columns[0].names:
        row = [matrix.iou_by_class[class_name] for matrix in columns]
        if any(iou is not None for iou in row):
            table.add_row(class_name, *map(_percent, row))
    Console().print(table)


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
