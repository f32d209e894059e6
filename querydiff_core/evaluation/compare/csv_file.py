"""A comparison as CSV: a line a number, so that any program can pivot it."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.evaluation.compare.published import COLUMNS, PUBLISHED
from querydiff_core.utils.atomic_file import atomic_file

HEAD = ("result", "origin", "domain", "class", "score", "percent")
SCORES = ("miou", "pixel_accuracy", "class_accuracy", "ece")


def write_csv(path: Path, comparison: Comparison, published: bool) -> None:
    """Write every score in percent; `published` adds what others have published, marked as such.

    Raises:
        QueryDiffError: if the file cannot be written.
    """
    with (
        atomic_file(path) as temporary,
        temporary.open("w", newline="", encoding="utf-8", errors="backslashreplace") as file,
    ):
        writer = csv.writer(file)
        writer.writerow(HEAD)
        writer.writerows(_measured(comparison))
        if published:
            writer.writerows(_published())


def _measured(comparison: Comparison) -> Iterator[tuple[str, ...]]:
    for name, result in comparison.results.items():
        for domain in result.domains:
            where = (name, "measured", domain.name)
            for score in SCORES:
                yield (*where, "", score, _percent(getattr(domain, score)))
            for class_name, iou in domain.iou_by_class.items():
                yield (*where, class_name, "iou", _percent(iou))
            for threshold, share, miou in domain.calibration.by_threshold if domain.calibration else ():
                yield (*where, "", f"miou_above_confidence_{threshold:.2f}", _percent(miou))
                yield (*where, "", f"pixels_above_confidence_{threshold:.2f}", _percent(share))
    first, *others = comparison.names
    for name in others:
        for domain_name in comparison.domains:
            if found := comparison.difference(first, name, domain_name):
                for score in ("difference", "low", "high"):
                    value = _percent(getattr(found, score))
                    yield (f"{name} less {first}", "measured", domain_name, "", f"miou_{score}", value)


def _published() -> Iterator[tuple[str, ...]]:
    for method, backbone, mious in PUBLISHED:
        for column, miou in zip(COLUMNS, mious, strict=True):
            if miou is not None:
                yield f"{method} {backbone}", "published", column, "", "miou", f"{miou:.1f}"


def _percent(share: float | None) -> str:
    return "" if share is None else f"{100 * share:.4f}"
