"""The scores of a model on one domain: a data set, a condition of it, a bag; as JSON values, and back again."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.calibration import BINS, Calibration
from querydiff_core.evaluation.confusion_scores import ConfusionScores


class ImageCounts(NamedTuple):
    """Pixels of one image by class, `(N,)` each: what a bootstrap over images draws from.

    `name`: stem or stamp. `ground_truth`, `predicted`, `hits`: pixels that are of the class, were predicted to be of
    it, and both.
    """

    name: str
    ground_truth: list[int]
    predicted: list[int]
    hits: list[int]


@dataclass(frozen=True)
class DomainResult(ConfusionScores):
    """What was counted on one domain, and the scores that follow from it.

    Attributes:
        name: of the domain, such as "camvid" or "fog".
        images: how many were scored.
        mapping: name of the label mapping, which says what classes are told apart.
        classes: N names of these score classes.
        confusion: `(N, N + 1)` pixels of true class `row` predicted as `column`; the last column is "no class".
        calibration: pixels by confidence, None if the model gave none.
        by_image: counts by image in the order of their names, None if they were not kept.
        extra: anything else that was measured, as JSON values: latencies, drop rate.
    """

    name: str
    images: int
    mapping: str
    classes: tuple[str, ...]
    confusion: list[list[int]]
    calibration: Calibration | None = None
    by_image: list[ImageCounts] | None = None
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def counts(self) -> np.ndarray:
        """Return `confusion` as int64 `(N, N + 1)`."""
        return np.array(self.confusion, np.int64).reshape(len(self.classes), len(self.classes) + 1)

    @property
    def ece(self) -> float | None:
        """Return the expected calibration error of the confidence, 0 to 1; None if there is no confidence."""
        return self.calibration.ece if self.calibration else None

    def merge(self, other: DomainResult, **extra: Any) -> DomainResult:
        """Return both together; of their extras what they agree on stays, and `extra` is added.

        Raises:
            QueryDiffError: if the two are not over the same classes.
        """
        if (self.mapping, self.classes) != (other.mapping, other.classes):
            raise QueryDiffError(
                f"{self.name} is scored with the label mapping {self.mapping} and with {other.mapping}: results over "
                "different classes cannot be merged, give the domains different names."
            )
        both = self.by_image is not None and other.by_image is not None
        calibrated = self.calibration is not None and other.calibration is not None
        agreed = {k: v for k, v in self.extra.items() if k in other.extra and other.extra[k] == v}
        return DomainResult(
            self.name,
            self.images + other.images,
            self.mapping,
            self.classes,
            (self.counts + other.counts).tolist(),
            self.calibration + other.calibration if calibrated else None,  # type: ignore[operator]
            sorted(self.by_image + other.by_image) if both else None,  # type: ignore[operator]
            agreed | extra,
        )

    def to_json(self) -> dict[str, Any]:
        """Return the domain as JSON values, its scores first."""
        return {
            "name": self.name,
            "images": self.images,
            "mapping": self.mapping,
            "miou": self.miou,
            "pixel_accuracy": self.pixel_accuracy,
            "class_accuracy": self.class_accuracy,
            "ece": self.ece,
            "iou_by_class": self.iou_by_class,
            "extra": self.extra,
            "classes": list(self.classes),
            "confusion": self.confusion,
            "calibration": self.calibration.to_json() if self.calibration else None,
            "by_image": None if self.by_image is None else [list(image) for image in self.by_image],
        }

    @classmethod
    def from_json(cls, raw: dict[str, Any]) -> DomainResult:
        """Return the domain of these JSON values; scores are computed from the counts.

        Raises:
            KeyError: if something is missing.
            ValueError: if a table has another shape than the classes ask for, or holds anything but counts.
        """
        classes = tuple(str(name) for name in raw["classes"])
        n = len(classes)
        calibration, by_image = raw["calibration"], raw["by_image"]
        return cls(
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
    ground_truth, predicted, hits = (
        _counts(f"calibration {key}", raw[key], (BINS, classes)) for key in ("truth", "predicted", "hits")
    )
    return Calibration(ground_truth, predicted, hits, _counts("calibration levels", raw["levels"], (BINS,)))


def _image(name: str, *counts: Any, classes: int) -> ImageCounts:
    return ImageCounts(str(name), *_counts(f"image {name}", counts, (3, classes)))


def _counts(what: str, table: Any, shape: tuple[int, ...]) -> list[Any]:
    counts = np.array(table)
    if counts.shape != shape or counts.dtype.kind != "i" or counts.min(initial=0) < 0:
        raise ValueError(f"{what} must be counts of shape {shape}, found shape {counts.shape}")
    result: list[Any] = counts.tolist()
    return result
