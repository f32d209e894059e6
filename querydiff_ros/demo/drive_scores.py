"""Score a labelled drive by weather and by class."""

from __future__ import annotations

from typing import Any

from querydiff_core.evaluation.condition_scores import ConditionScores
from querydiff_core.label_space import LabelMapping
from querydiff_ros.demo.labelled_drive import LabelledDrive


class DriveScores:
    """The scores of a drive by condition.

    Attributes:
        scores: by condition, in the order of the drive; frames without ground truth count nowhere.
        stamps: stamps of the labelled frames by condition ("" where it is not known), with or without ground truth.
    """

    def __init__(self, drive: LabelledDrive, mapping: LabelMapping) -> None:
        self.scores = ConditionScores(mapping)
        self.stamps: dict[str, list[int]] = {}
        for frame in drive:
            self.stamps.setdefault(frame.condition, []).append(frame.stamp_ns)
            if frame.ground_truth is not None:
                condition, name = frame.condition or "drive", str(frame.stamp_ns)
                self.scores.update(condition, frame.prediction, frame.confidence, frame.ground_truth, name)

    def miou(self, condition: str) -> float | None:
        """Return the mIoU of a condition, 0 to 1, None where there is no ground truth."""
        return self.scores.miou(condition or "drive")


def drive_metrics(drive: LabelledDrive, scores: DriveScores) -> dict[str, Any]:
    """Return what `metrics.json` holds; scores are None for a drive without ground truth.

    Latency is the node's own: milliseconds from a frame's arrival in the node to the publication of its label.
    """
    values, total = drive.diagnostics, scores.scores.total
    return {
        "frames_published": drive.published,
        "frames_labelled": drive.labelled,
        "frames_dropped": drive.published - drive.labelled,
        "miou": total.miou,
        "miou_by_condition": {condition: scorer.miou for condition, scorer in scores.scores.by_condition.items()},
        "iou_by_class": total.iou_by_class,
        "pixel_accuracy": total.pixel_accuracy,
        "latency_ms": {p: _number(values.get(f"latency_from_arrival_{p}_ms")) for p in ("p50", "p99")},
        "latency_source": "the node's /diagnostics: arrival of a frame to publication of its label",
        "engine": values.get("engine"),
        "variant": values.get("variant"),
        "device": values.get("device"),
    }


def _number(text: str | None) -> float | None:
    return float(text) if text else None
