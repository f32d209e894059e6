"""IoU from pixels by class."""

from __future__ import annotations

import numpy as np


def class_iou(truth: np.ndarray, predicted: np.ndarray, hits: np.ndarray) -> np.ndarray:
    """Return TP / (TP + FP + FN) by class, float64 `(..., N)`, 0 to 1; NaN for classes that the truth lacks.

    Args:
        truth: pixels `(..., N)` that are of the class.
        predicted: those that were labelled so.
        hits: those of which both is true.
    """
    return np.where(truth > 0, hits / np.maximum(truth + predicted - hits, 1), np.nan)


def mean_iou(iou: np.ndarray) -> float | None:
    """Return the mean of `iou` `(N,)` over the classes that have one; None if none has."""
    return None if np.isnan(iou).all() else float(np.nanmean(iou))
