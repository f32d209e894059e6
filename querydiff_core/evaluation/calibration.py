"""How far the confidence can be trusted: pixels by confidence and class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from querydiff_core.utils.iou import class_iou, mean_iou

BINS = 15
"""Bins of confidence, each 17 of the 255 steps wide; 255 (certain) belongs to the last."""


@dataclass(frozen=True)
class Calibration:
    """Pixels by bin of confidence and by class. Bin `b` holds confidences from `b / 15` on.

    `ground_truth`, `predicted`, `hits`: `(15, N)` pixels that are of the class, were predicted to be of it, and both.
    `levels`: `(15,)` sum of the confidences, 0 to 255 each. Pixels without ground truth are left out.
    """

    ground_truth: list[list[int]]
    predicted: list[list[int]]
    hits: list[list[int]]
    levels: list[int]

    @classmethod
    def of(cls, joint: np.ndarray) -> Calibration:
        """Sum up `joint`: int `(N, N + 1, 256)` pixels by true class, predicted class and confidence."""
        levels = joint.sum((0, 1)) * np.arange(256)
        first = np.arange(BINS) * 17
        binned = np.add.reduceat(joint, first, axis=2)  # (N, N + 1, 15): the last bin takes 255 too
        return cls(
            binned.sum(1).T.tolist(),
            binned[:, :-1].sum(0).T.tolist(),
            np.diagonal(binned).tolist(),
            np.add.reduceat(levels, first).tolist(),
        )

    def __add__(self, other: Calibration) -> Calibration:
        """Return both together; they must be over the same classes."""
        pairs = zip(self._arrays, other._arrays, strict=True)
        return Calibration(*((mine + theirs).tolist() for mine, theirs in pairs))

    @property
    def ece(self) -> float | None:
        """Return the expected calibration error, 0 to 1: the mean over pixels of |accuracy - confidence| by bin.

        None before any labelled pixel. Guo et al., "On Calibration of Modern Neural Networks", ICML 2017, Eq. 3.
        """
        ground_truth, _, hits, levels = self._arrays
        pixels = ground_truth.sum()
        return float(np.abs(hits.sum(1) - levels / 255).sum() / pixels) if pixels else None

    @property
    def by_threshold(self) -> list[tuple[float, float, float | None]]:
        """Return (threshold, share of labelled pixels at or above it, their mIoU) for each bin's lower edge.

        Pixels below the threshold are left out, as if the model had abstained.
        """
        ground_truth, predicted, hits, _ = (np.cumsum(counts[::-1], 0)[::-1] for counts in self._arrays)
        pixels = ground_truth.sum(1)  # (15,)
        mious = [mean_iou(iou) for iou in class_iou(ground_truth, predicted, hits)]
        return [(b / BINS, float(pixels[b] / max(pixels[0], 1)), mious[b]) for b in range(BINS)]

    def to_json(self) -> dict[str, Any]:
        """Return the counts as JSON values."""
        return {"truth": self.ground_truth, "predicted": self.predicted, "hits": self.hits, "levels": self.levels}

    @property
    def _arrays(self) -> tuple[np.ndarray, ...]:
        return tuple(
            np.array(counts, np.int64) for counts in (self.ground_truth, self.predicted, self.hits, self.levels)
        )
