"""Count labels against ground truth, frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np

from querydiff_core.evaluation.calibration import Calibration
from querydiff_core.evaluation.domain_result import DomainResult, ImageCounts
from querydiff_core.label_space import UNLABELLED, LabelMapping


class Evaluation:
    """Streaming counts over one domain: a few hundred numbers an image stay in memory, never the image.

    Classes that the mapping's label set cannot tell apart are merged on both sides. Pixels whose truth is 255 are
    ignored; a prediction that is no score class is a miss of the true class and nobody's false alarm.
    """

    def __init__(self, mapping: LabelMapping, by_image: bool = True) -> None:
        """Score the classes of `mapping`; `by_image` keeps counts by image, which comparing two models needs."""
        self.mapping = mapping
        self.classes = tuple(name for name, _ in mapping.score_classes)
        self.images = 0
        self._places = _places(mapping)
        self._joint = np.zeros((len(self.classes), len(self.classes) + 1, 256), np.int64)
        self._all_confident = True
        self._by_image: dict[str, np.ndarray] | None = {} if by_image else None  # name: (3, N)

    @property
    def labelled(self) -> bool:
        """Whether any pixel so far had a class to score."""
        return bool(self._joint.any())

    def update(self, labels: np.ndarray, confidence: np.ndarray | None, truth: np.ndarray, name: str) -> None:
        """Add one image: `labels`, `confidence` and `truth` uint8 of one shape, trainIds; `name` its stem or stamp.

        Raises:
            ValueError: if the shapes differ or an image of that name was added before.
        """
        if labels.shape != truth.shape or (confidence is not None and confidence.shape != truth.shape):
            raise ValueError(f"{name}: labels are {labels.shape} and truth is {truth.shape}")
        if self._by_image is not None and name in self._by_image:
            raise ValueError(f"{name} was added before")
        joint = self._count(labels, np.zeros_like(labels) if confidence is None else confidence, truth)
        self.images += 1
        self._all_confident &= confidence is not None
        self._joint += joint
        if self._by_image is not None:
            self._by_image[name] = class_counts(joint.sum(2))

    def __iadd__(self, other: Evaluation) -> Evaluation:
        """Add the images that `other` has counted with the same mapping.

        Raises:
            ValueError: if the classes differ or both have counted an image of one name.
        """
        if self.classes != other.classes:
            raise ValueError("the evaluations are over different classes")
        if self._by_image is not None and other._by_image is not None:
            if shared := self._by_image.keys() & other._by_image.keys():
                raise ValueError(f"{min(shared)} was added before")
            self._by_image |= other._by_image
        else:
            self._by_image = None
        self.images += other.images
        self._joint += other._joint
        self._all_confident &= other._all_confident
        return self

    def result(self, name: str, **extra: Any) -> DomainResult:
        """Return what was counted as the domain `name`; `extra` are JSON values to keep with it."""
        by_image = self._by_image
        return DomainResult(
            name,
            self.images,
            self.mapping.name,
            self.classes,
            self._joint.sum(2).tolist(),
            Calibration.of(self._joint) if self._all_confident and self.images else None,
            None if by_image is None else [ImageCounts(n, *by_image[n].tolist()) for n in sorted(by_image)],
            extra,
        )

    def _count(self, labels: np.ndarray, confidence: np.ndarray, truth: np.ndarray) -> np.ndarray:
        places = self._places[(truth.astype(np.uint16) << 8 | labels).ravel()]
        places += confidence.ravel()
        # One histogram of table look-ups is cheaper than masking out what is unlabelled first.
        return np.bincount(places, minlength=self._joint.size + 256)[: self._joint.size].reshape(self._joint.shape)


def _places(mapping: LabelMapping) -> np.ndarray:
    """Return where in the flat counts by (true, predicted, confidence) a pair of bytes begins: int64 `(65536,)`.

    The index is `truth << 8 | label`. Pairs without truth go past the end.
    """
    n = len(mapping.score_classes)
    true = mapping.score_table.astype(np.int64)[:, None]
    predicted = np.minimum(mapping.score_table, n)[None]  # 255, no class, becomes the last column
    return np.where(true == UNLABELLED, n * (n + 1), true * (n + 1) + predicted).ravel() * 256


def class_counts(confusion: np.ndarray) -> np.ndarray:
    """Return `(3, N)`: pixels by class that are of it, were labelled so, and both, of confusion `(N, N + 1)`."""
    return np.stack([confusion.sum(1), confusion[:, :-1].sum(0), np.diagonal(confusion)])
