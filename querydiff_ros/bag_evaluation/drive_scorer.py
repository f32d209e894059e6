"""Judge the predictions of a drive frame by frame."""

from __future__ import annotations

import hashlib
from collections import deque

import numpy as np

from querydiff_core.evaluation.condition_scores import ConditionScores
from querydiff_core.label_space import LabelMapping, LabelSpace
from querydiff_core.utils.iou import class_iou, mean_iou
from querydiff_ros.bag_evaluation.bag_frames import LabelledFrame
from querydiff_ros.bag_evaluation.measurements import ConditionSummary, FrameScore
from querydiff_ros.bag_evaluation.temporal_consistency import TemporalConsistency
from querydiff_ros.bag_evaluation.worst_frames import WorstFrames

WINDOW = 10
"""Frames that the mIoU over time is taken over: one frame alone lacks most classes."""
UNKNOWN = "unknown"
"""Name of the condition of frames whose condition is not known."""


class DriveScorer:
    """Scores by condition and over time, and the worst frames; a few numbers a frame stay in memory.

    Args:
        name: of the drive, which begins the names of its frames.
        mapping: whose score classes are told apart.
        label_space: colours of the pictures.
        pictures: number of worst frames.

    Attributes:
        frames: one score for each labelled frame, in the order of the drive.
        conditions: scores of the frames that have ground truth.
        worst: the worst frames.
    """

    def __init__(self, name: str, mapping: LabelMapping, label_space: LabelSpace, pictures: int) -> None:
        self.frames: list[FrameScore] = []
        self.conditions = ConditionScores(mapping)
        self.worst = WorstFrames(pictures, label_space, mapping)
        self._name = name
        self._window: deque[np.ndarray] = deque(maxlen=WINDOW)  # (3, N) each
        self._consistency = TemporalConsistency()
        self._digest = hashlib.sha256()

    def update(self, frame: LabelledFrame) -> None:
        """Add a frame."""
        self._digest.update(frame.stamp_ns.to_bytes(8, "little"))
        self._digest.update(np.ascontiguousarray(frame.prediction).data)
        condition = frame.condition or UNKNOWN
        miou = frame_miou = None
        if frame.ground_truth is not None:
            name = f"{self._name}/{frame.stamp_ns}"
            counts = self.conditions.update(condition, frame.prediction, frame.confidence, frame.ground_truth, name)
            self._window.append(counts)
            miou, frame_miou = (mean_iou(class_iou(*each)) for each in (np.sum(self._window, axis=0), counts))
        score = FrameScore(
            frame.stamp_ns,
            condition,
            miou,
            frame_miou,
            None if frame.confidence is None else float(frame.confidence.mean() / 255),
            self._consistency(frame.stamp_ns, frame.image, frame.prediction),
        )
        self.frames.append(score)
        self.worst.offer(frame, score)

    def by_condition(self) -> dict[str, list[FrameScore]]:
        """Return the frames of each condition, in the order of the drive."""
        names = dict.fromkeys(score.condition for score in self.frames)
        return {name: [score for score in self.frames if score.condition == name] for name in names}

    def summaries(self) -> dict[str, ConditionSummary]:
        """Return what a Result keeps of each condition, with or without ground truth."""
        return {name: ConditionSummary.of(scores) for name, scores in self.by_condition().items()}

    def miou(self, condition: str) -> float | None:
        """Return the mIoU of a condition, "" for the unknown one; None where it has no ground truth."""
        return self.conditions.miou(condition or UNKNOWN)

    @property
    def labels_sha256(self) -> str:
        """Return a SHA-256 over stamps (8 bytes, little endian) and predictions: equal runs have equal ones."""
        return self._digest.hexdigest()
