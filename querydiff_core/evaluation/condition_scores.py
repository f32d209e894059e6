"""Running scores by condition: of a bag, of a run in CARLA, of the demo's drive."""

from __future__ import annotations

from typing import Any

import numpy as np

from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.label_space import LabelMapping


class ConditionScores:
    """Score predictions against ground truth, one domain for each condition.

    Attributes:
        by_condition: a scorer for each condition, in the order of their first frames.
        frames: how many were scored.
    """

    def __init__(self, mapping: LabelMapping) -> None:
        self.by_condition: dict[str, Scorer] = {}
        self.frames = 0
        self._mapping = mapping
        self._names: set[str] = set()

    def update(
        self,
        condition: str,
        prediction: np.ndarray,
        confidence: np.ndarray | None,
        ground_truth: np.ndarray,
        name: str,
    ) -> np.ndarray:
        """Add one frame, as `Scorer.update` does, and return its counts `(3, N)`.

        A `name` that was used before gets a number: simulations start again at zero.
        """
        if condition not in self.by_condition:
            self.by_condition[condition] = Scorer(self._mapping)
        counts = self.by_condition[condition].update(prediction, confidence, ground_truth, self._unique(name))
        self.frames += 1
        return counts

    @property
    def total(self) -> DomainResult:
        """Return the scores over all conditions, without calibration and counts by image."""
        classes = tuple(name for name, _ in self._mapping.score_classes)
        nothing = np.zeros((len(classes), len(classes) + 1), np.int64)
        counts = sum((scorer.counts for scorer in self.by_condition.values()), nothing)
        return DomainResult("all", self.frames, self._mapping.name, classes, counts.tolist())

    @property
    def domains(self) -> tuple[DomainResult, ...]:
        """Return what a Result holds: a domain for each condition."""
        return tuple(scorer.result(condition) for condition, scorer in self.by_condition.items())

    def miou(self, condition: str) -> float | None:
        """Return the mIoU of a condition, 0 to 1; None where it has no ground truth."""
        scorer = self.by_condition.get(condition)
        return scorer.miou if scorer else None

    def summary(self) -> dict[str, Any]:
        """Return the scores so far as JSON values: shares 0 to 1, None where the ground truth has nothing to score."""
        total = self.total
        return {
            "frames": self.frames,
            "miou": total.miou,
            "pixel_accuracy": total.pixel_accuracy,
            "iou_by_class": total.iou_by_class,
            "by_condition": {
                condition: {"frames": scorer.images, "miou": scorer.miou}
                for condition, scorer in self.by_condition.items()
            },
        }

    def _unique(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            count += 1
            unique = f"{name} ({count})"
        self._names.add(unique)
        return unique
