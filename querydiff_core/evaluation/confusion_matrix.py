"""Count how predicted classes fall on true ones, frame by frame, and derive the scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from querydiff_core.label_space import UNLABELLED, LabelMapping, cityscapes


class ConfusionMatrix:
    """Streaming confusion matrix over N classes.

    Pixels whose truth is 255 are ignored. A prediction that is no class (255, say) on a labelled pixel is a miss of
    the true class and nobody's false alarm.

    Attributes:
        names: N class names.
        counts: int64 `(N, N + 1)`: pixels of true class `row` predicted as `column`; the last column is "no class".
    """

    def __init__(self, mapping: LabelMapping | None = None) -> None:
        """Score the 19 trainIds, or the groups of them that the label set of `mapping` can tell apart."""
        names: Sequence[str] = cityscapes().names
        self._table: np.ndarray | None = None
        if mapping is not None:
            names = [name for name, _ in mapping.score_classes]
            self._table = mapping.score_table
        self.names = tuple(names)
        self.counts = np.zeros((len(names), len(names) + 1), np.int64)

    def update(self, predicted: np.ndarray, truth: np.ndarray) -> None:
        """Add the pixels of `predicted` and `truth`, uint8 trainIds of one shape."""
        if predicted.shape != truth.shape:
            raise ValueError(f"predicted is {predicted.shape} and truth is {truth.shape}")
        if self._table is not None:
            predicted, truth = self._table[predicted], self._table[truth]
        self.counts += confusion_counts(predicted, truth, len(self.names))

    def __iadd__(self, other: ConfusionMatrix) -> ConfusionMatrix:
        """Add the pixels that `other` has counted over the same classes."""
        if self.names != other.names:
            raise ValueError("the matrices are over different classes")
        self.counts += other.counts
        return self

    @property
    def iou(self) -> np.ndarray:
        """Return TP / (TP + FP + FN) by class, float64 `(N,)`, 0 to 1; NaN for classes that the truth lacks."""
        true = self.counts.sum(1)
        hits = np.diagonal(self.counts)
        union = true + self.counts[:, :-1].sum(0) - hits
        return np.where(true > 0, hits / np.maximum(union, 1), np.nan)

    @property
    def iou_by_class(self) -> dict[str, float | None]:
        """Return the IoU by class name, None for classes that the truth lacks."""
        return {name: None if np.isnan(iou) else float(iou) for name, iou in zip(self.names, self.iou, strict=True)}

    @property
    def miou(self) -> float | None:
        """Return the mean IoU over the classes that the truth has, 0 to 1; None before any labelled pixel."""
        return float(np.nanmean(self.iou)) if self.counts.any() else None

    @property
    def pixel_accuracy(self) -> float | None:
        """Return the share of labelled pixels that got their class, 0 to 1; None before any labelled pixel."""
        return float(np.trace(self.counts) / self.counts.sum()) if self.counts.any() else None


def confusion_counts(predicted: np.ndarray, truth: np.ndarray, classes: int) -> np.ndarray:
    """Count pixels by true and predicted class: int64 `(classes, classes + 1)`, the last column for "no class".

    Args:
        predicted: uint8 class indices; `classes` and above mean "no class".
        truth: uint8 class indices of the same shape; 255 is ignored.
        classes: number of classes, at most 255.

    Raises:
        ValueError: if `truth` holds an index that is neither a class nor 255.
    """
    columns = classes + 1
    # One 256 x 256 histogram of the byte pairs is far cheaper than masking the image first.
    pairs = np.bincount((truth.astype(np.uint16) << 8 | predicted).ravel(), minlength=65536).reshape(256, 256)
    if pairs[classes:UNLABELLED].any():
        raise ValueError(f"truth holds an index that is neither below {classes} nor {UNLABELLED}")
    counts = np.zeros((classes, columns), np.int64)
    counts[:, :classes] = pairs[:classes, :classes]
    counts[:, classes] = pairs[:classes, classes:].sum(1)
    return counts
