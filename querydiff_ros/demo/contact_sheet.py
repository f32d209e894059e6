"""The demo's contact sheet: input, prediction and ground truth for each condition."""

from __future__ import annotations

import numpy as np

from querydiff_core.label_space import LabelSpace
from querydiff_core.utils.panels import DARK, MUTED, blank, fitted, framed, grid, legend, write
from querydiff_ros.bag_evaluation.bag_frames import LabelledFrame, LabelledFrames
from querydiff_ros.bag_evaluation.drive_scorer import DriveScorer

PANEL_WIDTH = 480
GUTTER, GAP, MARGIN, HEADER = 128, 8, 20, 64
ROWS_OF_ONE_CONDITION = 4


def contact_sheet(drive: LabelledFrames, scores: DriveScorer, label_space: LabelSpace) -> np.ndarray:
    """Return the sheet, uint8 RGB `(H, W, 3)`: one row for each condition, or for a few moments where none is known."""
    chosen = _chosen_stamps(scores)
    frames = [frame for frame in drive if frame.stamp_ns in chosen]
    start = scores.frames[0].stamp_ns
    columns = ["input", "prediction", *(["ground truth"] if any(f.ground_truth is not None for f in frames) else [])]
    height = round(PANEL_WIDTH * frames[0].image.shape[0] / frames[0].image.shape[1])
    rows = []
    for frame in frames:
        panels = _panels(frame, len(columns), height, label_space)
        gutter = _gutter(len(panels), frame.condition, (frame.stamp_ns - start) / 1e9, scores.miou(frame.condition))
        rows.append(np.concatenate([gutter, panels], 1))
    body = grid(rows, 1, GAP, DARK)
    head = blank(HEADER, body.shape[1])
    write(head, "QueryDiff", (0, HEADER - 14), scale=0.6, bold=True)
    for index, column in enumerate(columns):
        write(head, column, (GUTTER + index * (PANEL_WIDTH + GAP), HEADER - 14), scale=0.6)
    classes = framed(legend(body.shape[1], label_space), 2 * GAP, MARGIN, 0)
    return framed(np.concatenate([head, body, classes]), 0, 0, MARGIN)


def _chosen_stamps(scores: DriveScorer) -> set[int]:
    """Choose the middle frame of each condition, or frames spread evenly over a drive of one."""
    by_condition = scores.by_condition().values()
    if len(by_condition) > 1:
        return {frames[len(frames) // 2].stamp_ns for frames in by_condition}
    picks = np.linspace(0, len(scores.frames) - 1, ROWS_OF_ONE_CONDITION + 2)[1:-1]
    return {scores.frames[round(pick)].stamp_ns for pick in picks}


def _gutter(height: int, condition: str, seconds: float, miou: float | None) -> np.ndarray:
    """Return what is said of a row, left of its panels."""
    gutter, y = blank(height, GUTTER), height // 2 - 12
    write(gutter, condition, (0, y), scale=0.7, bold=True)
    write(gutter, "" if miou is None else f"mIoU {100 * miou:.1f} %", (0, y + 24), scale=0.45)
    write(gutter, f"at {seconds:.1f} s", (0, y + 44), scale=0.45, ink=MUTED)
    return gutter


def _panels(frame: LabelledFrame, columns: int, height: int, label_space: LabelSpace) -> np.ndarray:
    pictures = [
        frame.image,
        *(label_space.paint(ids) for ids in (frame.prediction, frame.ground_truth) if ids is not None),
    ]
    return grid([fitted(picture, PANEL_WIDTH, height, DARK) for picture in pictures], columns, GAP, DARK)
