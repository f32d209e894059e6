"""Domains of a result as JSON values, and back with every shape checked."""

from __future__ import annotations

from typing import Any

import numpy as np

from querydiff_core.evaluation.calibration import BINS, Calibration
from querydiff_core.evaluation.domain_result import DomainResult, ImageCounts


def domain_to_json(domain: DomainResult) -> dict[str, Any]:
    """Return the domain as JSON values, its scores first."""
    calibration = domain.calibration
    return {
        "name": domain.name,
        "images": domain.images,
        "mapping": domain.mapping,
        "miou": domain.miou,
        "pixel_accuracy": domain.pixel_accuracy,
        "class_accuracy": domain.class_accuracy,
        "ece": domain.ece,
        "iou_by_class": domain.iou_by_class,
        "extra": domain.extra,
        "classes": list(domain.classes),
        "confusion": domain.confusion,
        "calibration": vars(calibration) if calibration else None,
        "by_image": None if domain.by_image is None else [list(image) for image in domain.by_image],
    }


def domain_from_json(raw: dict[str, Any]) -> DomainResult:
    """Return the domain of these JSON values; scores are computed anew.

    Raises:
        KeyError: if something is missing.
        ValueError: if a table has another shape than the classes ask for, or holds anything but counts.
    """
    classes = tuple(str(name) for name in raw["classes"])
    n = len(classes)
    calibration, by_image = raw["calibration"], raw["by_image"]
    return DomainResult(
        str(raw["name"]),
        int(raw["images"]),
        str(raw["mapping"]),
        classes,
        _counts("confusion", raw["confusion"], (n, n + 1)),
        None if calibration is None else _calibration(calibration, n),
        None if by_image is None else [_image(*image, classes=n) for image in by_image],
        dict(raw["extra"]),
    )


def _calibration(raw: dict[str, Any], classes: int) -> Calibration:
    truth, predicted, hits = (
        _counts(f"calibration {key}", raw[key], (BINS, classes)) for key in ("truth", "predicted", "hits")
    )
    return Calibration(truth, predicted, hits, _counts("calibration levels", raw["levels"], (BINS,)))


def _image(name: str, *counts: Any, classes: int) -> ImageCounts:
    truth, predicted, hits = _counts(f"image {name}", counts, (3, classes))
    return ImageCounts(str(name), truth, predicted, hits)


def _counts(what: str, table: Any, shape: tuple[int, ...]) -> list[Any]:
    counts = np.array(table)
    if counts.shape != shape or counts.dtype.kind != "i" or counts.min(initial=0) < 0:
        raise ValueError(f"{what} must be counts of shape {shape}, found shape {counts.shape}")
    result: list[Any] = counts.tolist()
    return result
