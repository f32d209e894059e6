"""Score a labelled drive by weather and by class."""

from __future__ import annotations

from typing import Any

from querydiff_core.evaluation.confusion_matrix import ConfusionMatrix
from querydiff_core.label_space import LabelMapping
from querydiff_ros.demo.labelled_drive import LabelledDrive


class DriveScores:
    """One confusion matrix for each condition of a drive, and one for all of it.

    Attributes:
        conditions: matrices by condition, in the order of the drive; frames without truth count nowhere.
        total: their sum.
        stamps: stamps of the labelled frames by condition ("" where it is not known), with or without truth.
    """

    def __init__(self, drive: LabelledDrive, mapping: LabelMapping) -> None:
        self.conditions: dict[str, ConfusionMatrix] = {}
        self.total = ConfusionMatrix(mapping)
        self.stamps: dict[str, list[int]] = {}
        for frame in drive:
            self.stamps.setdefault(frame.condition, []).append(frame.stamp_ns)
            if frame.truth is not None:
                matrix = self.conditions.setdefault(frame.condition or "drive", ConfusionMatrix(mapping))
                matrix.update(frame.labels, frame.truth)
        for matrix in self.conditions.values():
            self.total += matrix

    def miou(self, condition: str) -> float | None:
        """Return the mIoU of a condition, 0 to 1, None where there is no truth."""
        matrix = self.conditions.get(condition or "drive")
        return None if matrix is None else matrix.miou


def drive_metrics(drive: LabelledDrive, scores: DriveScores) -> dict[str, Any]:
    """Return what `metrics.json` holds; scores are None for a drive without ground truth.

    Latency is the node's own: milliseconds from a frame's arrival in the node to the publication of its label.
    """
    values = drive.diagnostics
    return {
        "frames_published": drive.published,
        "frames_labelled": drive.labelled,
        "frames_dropped": drive.published - drive.labelled,
        "miou": scores.total.miou,
        "miou_by_condition": {condition: matrix.miou for condition, matrix in scores.conditions.items()},
        "iou_by_class": scores.total.iou_by_class,
        "pixel_accuracy": scores.total.pixel_accuracy,
        "latency_ms": {p: _number(values.get(f"latency_from_arrival_{p}_ms")) for p in ("p50", "p99")},
        "latency_source": "the node's /diagnostics: arrival of a frame to publication of its label",
        "engine": values.get("engine"),
        "variant": values.get("variant"),
        "device": values.get("device"),
    }


def _number(text: str | None) -> float | None:
    return float(text) if text else None
