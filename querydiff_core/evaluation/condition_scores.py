"""Running scores by weather."""

from __future__ import annotations

from typing import Any

import numpy as np

from querydiff_core.evaluation.confusion_matrix import ConfusionMatrix
from querydiff_core.evaluation.result import DomainResult, Evaluation
from querydiff_core.label_space import LabelMapping


class CarlaScores:
    """Count labels against ground truth, one domain a weather.

    Attributes:
        total: pixels of all weathers.
        frames: how many were scored.
    """

    def __init__(self, mapping: LabelMapping) -> None:
        self._mapping = mapping
        self._evaluations: dict[str, Evaluation] = {}
        self._matrices: dict[str, ConfusionMatrix] = {}  # cheap to read at every turn, which a domain's result is not
        self._names: set[str] = set()
        self.total = ConfusionMatrix(mapping)
        self.frames = 0

    def update(
        self, condition: str, stamp_ns: int, labels: np.ndarray, confidence: np.ndarray | None, truth: np.ndarray
    ) -> None:
        """Add one frame: uint8 `(H, W)` each."""
        evaluation = self._evaluations.setdefault(condition, Evaluation(self._mapping))
        evaluation.update(labels, confidence, truth, self._name(stamp_ns))
        frame = ConfusionMatrix(self._mapping)
        frame.update(labels, truth)
        self.total += frame
        self._matrices.setdefault(condition, ConfusionMatrix(self._mapping)).__iadd__(frame)
        self.frames += 1

    def domains(self) -> tuple[DomainResult, ...]:
        """Return what a Result holds, a domain a weather, in the order of their first frames."""
        return tuple(evaluation.result(condition) for condition, evaluation in self._evaluations.items())

    def summary(self) -> dict[str, Any]:
        """Return the scores so far as JSON values; shares are 0 to 1, None where the truth has nothing to score."""
        return {
            "frames": self.frames,
            "miou": self.total.miou,
            "pixel_accuracy": self.total.pixel_accuracy,
            "iou_by_class": self.total.iou_by_class,
            "by_condition": {
                condition: {"frames": self._evaluations[condition].images, "miou": matrix.miou}
                for condition, matrix in self._matrices.items()
            },
        }

    def _name(self, stamp_ns: int) -> str:
        """Return the stamp in seconds, told apart from an equal one before: simulations start again at zero."""
        stamp = name = f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"
        count = 1
        while name in self._names:
            count += 1
            name = f"{stamp} ({count})"
        self._names.add(name)
        return name
