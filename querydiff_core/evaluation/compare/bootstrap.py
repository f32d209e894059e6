"""How sure the difference of two mIoUs is: a bootstrap over images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from querydiff_core.evaluation.domain_result import ImageCounts
from querydiff_core.utils.iou import class_iou

DRAWS = 2000


@dataclass(frozen=True)
class MiouDifference:
    """`difference`: mIoU of B less that of A, -1 to 1. `low`, `high`: its interval. `paired`: over the same images."""

    difference: float
    low: float
    high: float
    paired: bool

    @property
    def clear(self) -> bool:
        """Return whether the interval leaves out zero."""
        return self.low > 0 or self.high < 0


def miou_difference(a: Sequence[ImageCounts], b: Sequence[ImageCounts]) -> MiouDifference | None:
    """Return the difference and its 95 % percentile interval; None where either has no labelled pixel.

    Images are drawn with replacement, whole, since pixels of one image are anything but independent. Where both are
    over the same images (names and ground truth alike) the same draws serve both, which takes out what the images
    have in common. Efron and Tibshirani, "An Introduction to the Bootstrap", 1993, chapter 13.
    """
    if not (any(sum(image.ground_truth) for image in a) and any(sum(image.ground_truth) for image in b)):
        return None
    a, b = sorted(a), sorted(b)
    paired = [image[:2] for image in a] == [image[:2] for image in b]
    generator = np.random.default_rng(0)
    counts_a, counts_b = _counts(a), _counts(b)
    weights_a = _weights(generator, len(a))
    weights_b = weights_a if paired else _weights(generator, len(b))
    drawn = _mious(weights_b, counts_b) - _mious(weights_a, counts_a)
    once_a, once_b = (np.ones((1, len(images))) for images in (a, b))
    difference = float((_mious(once_b, counts_b) - _mious(once_a, counts_a))[0])
    low, high = np.percentile(drawn[~np.isnan(drawn)], [2.5, 97.5])
    return MiouDifference(difference, float(low), float(high), paired)


def _counts(images: Sequence[ImageCounts]) -> np.ndarray:
    return np.array([image[1:] for image in images], np.float64)  # (images, 3, N); exact up to 2^53 pixels


def _weights(generator: np.random.Generator, images: int) -> np.ndarray:
    return generator.multinomial(images, np.full(images, 1 / images), DRAWS)  # (draws, images)


def _mious(weights: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Return the mIoU of each draw, `(draws,)`; NaN where no drawn image is labelled."""
    totals = np.tensordot(weights.astype(np.float64), counts, 1)  # (draws, 3, N)
    iou = class_iou(totals[:, 0], totals[:, 1], totals[:, 2])
    seen = ~np.isnan(iou)
    return np.where(seen.any(1), np.nansum(iou, 1) / np.maximum(seen.sum(1), 1), np.nan)
