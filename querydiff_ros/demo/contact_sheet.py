"""The demo's contact sheet: input, labels and ground truth for each condition."""

from __future__ import annotations

import numpy as np

from querydiff_core.label_space import LabelSpace
from querydiff_core.utils.panels import blank, legend, paste, percent, write
from querydiff_ros.demo.drive_scores import DriveScores
from querydiff_ros.demo.labelled_drive import LabelledDrive, LabelledFrame

PANEL_WIDTH = 480
GUTTER, GAP, MARGIN, HEADER = 128, 8, 20, 64
ROWS_OF_ONE_CONDITION = 4


def contact_sheet(drive: LabelledDrive, scores: DriveScores, label_space: LabelSpace) -> np.ndarray:
    """Return the sheet, uint8 RGB `(H, W, 3)`: one row for each condition, or for a few moments where none is known."""
    chosen = _chosen_stamps(scores)
    rows = [frame for frame in drive if frame.stamp_ns in chosen]
    columns = ["input", "labels", *(["ground truth"] if any(f.truth is not None for f in rows) else [])]
    height = round(PANEL_WIDTH * rows[0].image.shape[0] / rows[0].image.shape[1])
    width = MARGIN + GUTTER + len(columns) * (PANEL_WIDTH + GAP) - GAP + MARGIN
    classes = legend(width - 2 * MARGIN, label_space)
    sheet = blank(HEADER + len(rows) * (height + GAP) + GAP + len(classes) + MARGIN, width)
    for index, column in enumerate(columns):
        write(sheet, column, (MARGIN + GUTTER + index * (PANEL_WIDTH + GAP), HEADER - 14), scale=0.6)
    write(sheet, "QueryDiff", (MARGIN, HEADER - 14), scale=0.6, bold=True)
    start = min(min(stamps) for stamps in scores.stamps.values())
    for index, frame in enumerate(rows):
        row = sheet[HEADER + index * (height + GAP) :][:height]
        _write_captions(row, frame, (frame.stamp_ns - start) / 1e9, scores.miou(frame.condition))
        _paste_panels(row, frame, len(columns), label_space)
    sheet[-MARGIN - len(classes) : -MARGIN, MARGIN:-MARGIN] = classes
    return sheet


def _chosen_stamps(scores: DriveScores) -> set[int]:
    """Choose the middle frame of each condition, or frames spread evenly over a drive of one."""
    if len(scores.stamps) > 1:
        return {stamps[len(stamps) // 2] for stamps in scores.stamps.values()}
    (stamps,) = scores.stamps.values()
    picks = np.linspace(0, len(stamps) - 1, ROWS_OF_ONE_CONDITION + 2)[1:-1]
    return {stamps[round(pick)] for pick in picks}


def _write_captions(row: np.ndarray, frame: LabelledFrame, seconds: float, miou: float | None) -> None:
    y = len(row) // 2 - 12
    if frame.condition:
        write(row, frame.condition, (MARGIN, y), scale=0.7, bold=True)
    if miou is not None:
        write(row, f"mIoU {percent(miou)}", (MARGIN, y + 24), scale=0.45)
    write(row, f"at {seconds:.1f} s", (MARGIN, y + 44), scale=0.45, muted=True)


def _paste_panels(row: np.ndarray, frame: LabelledFrame, columns: int, label_space: LabelSpace) -> None:
    panels = [frame.image, label_space.paint(frame.labels)]
    if frame.truth is not None:
        panels.append(label_space.paint(frame.truth))
    for index, panel in enumerate(panels[:columns]):
        paste(row, panel, (MARGIN + GUTTER + index * (PANEL_WIDTH + GAP), 0, PANEL_WIDTH, len(row)))
