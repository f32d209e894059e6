"""Score predictions against ground truth, image by image."""

from __future__ import annotations

from typing import Any

import numpy as np

from querydiff_core.evaluation.calibration import Calibration
from querydiff_core.evaluation.confusion_scores import ConfusionScores
from querydiff_core.evaluation.domain_result import DomainResult, ImageCounts
from querydiff_core.label_space import UNLABELLED, LabelMapping, cityscapes
from querydiff_core.utils.iou import class_counts


class Scorer(ConfusionScores):
    """Streaming counts over one domain: a few hundred numbers an image stay in memory, never the image.

    Classes that the mapping's label set cannot tell apart are merged on both sides. Pixels whose ground truth is 255
    are ignored; a prediction that is no score class is a miss of the true class and nobody's false alarm.

    Attributes:
        mapping: says which classes are scored.
        classes: N names of these.
        images: how many were counted.
    """

    def __init__(self, mapping: LabelMapping) -> None:
        self.mapping = mapping
        self.classes = tuple(name for name, _ in mapping.score_classes)
        self.images = 0
        self._places = _places(mapping)
        self._joint = np.zeros((len(self.classes), len(self.classes) + 1, 256), np.int64)
        self._confusion = self._joint.sum(2)  # cheap to read at every turn, which the sum would not be
        self._all_confident = True
        self._by_image: dict[str, np.ndarray] = {}  # name: (3, N)

    @property
    def counts(self) -> np.ndarray:
        """Return the confusion so far: int64 `(N, N + 1)`."""
        return self._confusion

    def update(
        self, prediction: np.ndarray, confidence: np.ndarray | None, ground_truth: np.ndarray, name: str
    ) -> np.ndarray:
        """Add one image, its stem or stamp being `name`: uint8 of one shape each, two of them trainIds.

        Returns:
            The image's pixels by class, int64 `(3, N)`: in the ground truth, predicted, and both.

        Raises:
            ValueError: if the shapes differ, an image of that name was added before, or the ground truth holds what is
                neither a trainId nor 255.
        """
        if prediction.shape != ground_truth.shape or (confidence is not None and confidence.shape != prediction.shape):
            raise ValueError(f"{name}: the prediction is {prediction.shape} and the ground truth {ground_truth.shape}")
        if name in self._by_image:
            raise ValueError(f"{name} was added before")
        joint = self._count(prediction, np.zeros_like(prediction) if confidence is None else confidence, ground_truth)
        confusion = joint.sum(2)
        self.images += 1
        self._all_confident &= confidence is not None
        self._joint += joint
        self._confusion += confusion
        self._by_image[name] = class_counts(confusion)
        return self._by_image[name]

    def result(self, name: str, **extra: Any) -> DomainResult:
        """Return what was counted as the domain `name`; `extra` are JSON values to keep with it."""
        return DomainResult(
            name,
            self.images,
            self.mapping.name,
            self.classes,
            self._confusion.tolist(),
            Calibration.of(self._joint) if self._all_confident and self.images else None,
            [ImageCounts(image, *self._by_image[image].tolist()) for image in sorted(self._by_image)],
            extra,
        )

    def _count(self, prediction: np.ndarray, confidence: np.ndarray, ground_truth: np.ndarray) -> np.ndarray:
        places = self._places[(ground_truth.astype(np.uint16) << 8 | prediction).ravel()]
        places += confidence.ravel()
        # One histogram of table look-ups is cheaper than masking out what is unlabelled first.
        size = self._joint.size
        counts = np.bincount(places, minlength=size + 512)
        if counts[size + 256 :].any():
            raise ValueError(f"the ground truth holds what is neither below {len(cityscapes())} nor {UNLABELLED}")
        return counts[:size].reshape(self._joint.shape)


def _places(mapping: LabelMapping) -> np.ndarray:
    """Return where in the flat counts by (true, predicted, confidence) a pair of bytes begins: int64 `(65536,)`.

    The index is `ground_truth << 8 | prediction`. Pairs without ground truth go past the end, and those whose ground
    truth is no trainId behind them.
    """
    n = len(mapping.score_classes)
    true = mapping.score_table.astype(np.int64)[:, None]
    predicted = np.minimum(mapping.score_table, n)[None]  # 255, no class, becomes the last column
    places = np.where(true == UNLABELLED, n * (n + 1), true * (n + 1) + predicted)
    places[len(cityscapes()) : UNLABELLED] = n * (n + 1) + 1
    return places.ravel() * 256
