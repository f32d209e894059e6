"""Every score that follows from a confusion matrix."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from querydiff_core.utils.iou import class_counts, class_iou, mean_iou


class ConfusionScores(ABC):
    """What follows from a confusion matrix over the N score classes `classes`."""

    classes: tuple[str, ...]

    @property
    @abstractmethod
    def counts(self) -> np.ndarray:
        """Return int64 `(N, N + 1)`: pixels of true class `row` predicted as `column`; the last is "no class"."""

    @property
    def iou(self) -> np.ndarray:
        """Return the IoU by class, float64 `(N,)`, 0 to 1; NaN for classes that the ground truth lacks."""
        return class_iou(*class_counts(self.counts))

    @property
    def iou_by_class(self) -> dict[str, float | None]:
        """Return the IoU by class name, None for classes that the ground truth lacks."""
        return {name: None if np.isnan(iou) else float(iou) for name, iou in zip(self.classes, self.iou, strict=True)}

    @property
    def miou(self) -> float | None:
        """Return the mean IoU over the classes that the ground truth has; None before any labelled pixel."""
        return mean_iou(self.iou)

    @property
    def pixel_accuracy(self) -> float | None:
        """Return the share of labelled pixels that got their class; None before any labelled pixel."""
        counts = self.counts
        return float(np.trace(counts) / counts.sum()) if counts.any() else None

    @property
    def class_accuracy(self) -> float | None:
        """Return the mean over classes of the share of their pixels that got them; None before any labelled pixel."""
        ground_truth, _, hits = class_counts(self.counts)
        present = ground_truth > 0
        return float(np.mean(hits[present] / ground_truth[present])) if present.any() else None
