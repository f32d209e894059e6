"""Judge the labels of a drive frame by frame."""

from __future__ import annotations

import hashlib
from collections import deque

import numpy as np

from querydiff_core.evaluation.condition_scores import ConditionScores
from querydiff_core.evaluation.iou import class_iou, mean_iou
from querydiff_core.evaluation.result import DomainResult
from querydiff_core.label_space import LabelMapping, LabelSpace
from querydiff_ros.bag_evaluation.bag_frames import BagFrame
from querydiff_ros.bag_evaluation.frame_scores import FrameScore
from querydiff_ros.bag_evaluation.temporal_consistency import TemporalConsistency
from querydiff_ros.bag_evaluation.worst_frames import WorstFrames

WINDOW = 10
"""Frames that the mIoU over time is taken over: one frame alone lacks most classes."""
UNKNOWN = "unknown"
"""Name of the domain of frames whose condition is not known."""


class DriveScorer:
    """Scores by condition and over time, and the worst frames; a few numbers a frame stay in memory.

    Args:
        name: of the drive, which begins the names of its frames.
        mapping: whose score classes are told apart.
        label_space: colours of the pictures.
        pictures: number of worst frames.

    Attributes:
        scores: one a labelled frame, in the order of the drive.
        worth: the worst frames.
    """

    def __init__(self, name: str, mapping: LabelMapping, label_space: LabelSpace, pictures: int) -> None:
        self.scores: list[FrameScore] = []
        self.worth = WorstFrames(pictures, label_space, mapping)
        self._name = name
        self._conditions = ConditionScores(mapping)
        self._window: deque[np.ndarray] = deque(maxlen=WINDOW)
        self._consistency = TemporalConsistency()
        self._digest = hashlib.sha256()

    def update(self, frame: BagFrame, labels: np.ndarray, confidence: np.ndarray | None) -> None:
        """Add a frame and its `labels` and `confidence`, uint8 `(H, W)`."""
        self._digest.update(frame.stamp_ns.to_bytes(8, "little"))
        self._digest.update(np.ascontiguousarray(labels).data)
        condition = frame.condition or UNKNOWN
        frame_miou = None
        if frame.ground_truth is not None:
            name = f"{self._name}/{frame.stamp_ns}"
            counts = self._conditions.update(condition, labels, confidence, frame.ground_truth, name)
            self._window.append(counts)
            frame_miou = _miou(counts)
        score = FrameScore(
            frame.stamp_ns,
            condition,
            _miou(np.sum(self._window, axis=0)) if frame.ground_truth is not None else None,
            frame_miou,
            None if confidence is None else float(confidence.mean() / 255),
            self._consistency(frame.stamp_ns, frame.image, labels),
        )
        self.scores.append(score)
        self.worth.offer(frame, labels, confidence, score)

    @property
    def domains(self) -> tuple[DomainResult, ...]:
        """Return the scores of the conditions that have ground truth, in the order of the drive."""
        return self._conditions.domains

    @property
    def labels_sha256(self) -> str:
        """Return a SHA-256 over stamps (8 bytes, little endian) and labels: equal if two runs labelled bit for bit."""
        return self._digest.hexdigest()


def _miou(counts: np.ndarray) -> float | None:
    return mean_iou(class_iou(*counts))
