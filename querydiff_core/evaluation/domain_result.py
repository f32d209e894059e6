"""The scores of a model on one domain: a data set, a condition of it, a bag."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.calibration import Calibration
from querydiff_core.evaluation.iou import class_iou, mean_iou


class ImageCounts(NamedTuple):
    """Pixels of one image by class, `(N,)` each: what a bootstrap over images draws from.

    `name`: stem or stamp. `truth`, `predicted`, `hits`: pixels that are of the class, were labelled so, and both.
    """

    name: str
    truth: list[int]
    predicted: list[int]
    hits: list[int]


@dataclass(frozen=True)
class DomainResult:
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
    def iou(self) -> np.ndarray:
        """Return the IoU by class, float64 `(N,)`, 0 to 1; NaN for classes that the truth lacks."""
        counts = self.counts
        return class_iou(counts.sum(1), counts[:, :-1].sum(0), np.diagonal(counts))

    @property
    def iou_by_class(self) -> dict[str, float | None]:
        """Return the IoU by class name, None for classes that the truth lacks."""
        return {name: None if np.isnan(iou) else float(iou) for name, iou in zip(self.classes, self.iou, strict=True)}

    @property
    def miou(self) -> float | None:
        """Return the mean IoU over the classes that the truth has; None before any labelled pixel."""
        return mean_iou(self.iou)

    @property
    def pixel_accuracy(self) -> float | None:
        """Return the share of labelled pixels that got their class; None before any labelled pixel."""
        counts = self.counts
        return float(np.trace(counts) / counts.sum()) if counts.any() else None

    @property
    def class_accuracy(self) -> float | None:
        """Return the mean over classes of the share of their pixels that got them; None before any labelled pixel."""
        counts = self.counts
        true = counts.sum(1)
        return float(np.mean(np.diagonal(counts)[true > 0] / true[true > 0])) if true.any() else None

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
