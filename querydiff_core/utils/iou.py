"""IoU from pixels by class, for evaluation, validation and probes alike."""

from __future__ import annotations

import numpy as np


def class_counts(confusion: np.ndarray) -> np.ndarray:
    """Return `(3, N)` pixels by class of a confusion `(N, N + 1)`: in the ground truth, predicted, and both (hits)."""
    return np.stack([confusion.sum(1), confusion[:, :-1].sum(0), np.diagonal(confusion)])


def class_iou(ground_truth: np.ndarray, predicted: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FP + FN) by class, float64 `(..., N)`, 0 to 1; NaN for classes that the ground truth lacks.

    Args:
        ground_truth: pixels `(..., N)` that are of the class.
        predicted: pixels that were predicted to be of it.
        hits: pixels of which both is true.
    """
    return np.where(ground_truth > 0, hits / np.maximum(ground_truth + predicted - hits, 1), np.nan)


def mean_iou(iou: np.ndarray) -> float | None:
    """Return the mean of `iou` `(N,)` over the classes that have one; None if none has."""
    return None if np.isnan(iou).all() else float(np.nanmean(iou))
