"""The demo's video: the drive under its predictions, beside input, ground truth and confidence."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from querydiff_core.label_space import LabelSpace
from querydiff_core.utils.overlay import heat_map, overlay
from querydiff_core.utils.panels import DARK, MUTED, blank, fitted, framed, grid, legend, panel, text_width, write
from querydiff_core.utils.terminal import tracked
from querydiff_core.utils.video import write_video
from querydiff_ros.bag_evaluation.bag_frames import LabelledFrame, LabelledFrames
from querydiff_ros.bag_evaluation.drive_scorer import DriveScorer

MAIN_WIDTH, MAIN_HEIGHT = 1024, 768
HEADER, GAP, MARGIN = 44, 8, 16
OPACITY = 0.55


class OverlayVideo:
    """Compose and write the video of a labelled drive."""

    def __init__(self, drive: LabelledFrames, scores: DriveScorer, label_space: LabelSpace, title: str) -> None:
        self._drive, self._scores, self._label_space, self._title = drive, scores, label_space, title
        self._size: tuple[int, int] | None = None

    def write(self, path: Path, rate: float) -> int:
        """Write the labelled frames as H.264 at `rate` frames a second and return their number."""
        return write_video(path, self._pictures(), rate)

    def _pictures(self) -> Iterator[np.ndarray]:
        for number, frame in enumerate(tracked(self._drive, "drawing", len(self._scores.frames)), 1):
            yield self.compose(frame, number)

    def compose(self, frame: LabelledFrame, number: int) -> np.ndarray:
        """Return the picture of one frame, uint8 RGB; every frame of a drive gives one size."""
        height, width = self._size = self._size or _fit(frame.image)  # the first frame's: later ones may differ
        panels = self._side_panels(frame)
        side_height = (height - GAP * (len(panels) - 1)) // len(panels)
        side_width = round(side_height * width / height)
        painted = overlay(frame.image, frame.prediction, self._label_space, OPACITY)
        picture = blank(HEADER + height + GAP, width + GAP + side_width)
        self._write_header(picture, frame, number)
        picture[HEADER : HEADER + height, :width] = _panel(painted, width, height, "prediction over input")
        side = [_panel(each, side_width, side_height, caption) for caption, each in panels.items()]
        column = grid(side, 1, GAP, DARK)
        picture[HEADER : HEADER + len(column), width + GAP :] = column
        classes = framed(legend(picture.shape[1] - 2 * MARGIN, self._label_space), 0, GAP, MARGIN)
        return np.concatenate([picture, classes])

    def _side_panels(self, frame: LabelledFrame) -> dict[str, np.ndarray]:
        judged = frame.prediction if frame.ground_truth is None else frame.ground_truth
        panels = {
            "input": frame.image,
            "prediction" if frame.ground_truth is None else "ground truth": self._label_space.paint(judged),
        }
        if frame.confidence is not None:
            panels["confidence"] = heat_map(frame.confidence)
        return panels

    def _write_header(self, picture: np.ndarray, frame: LabelledFrame, number: int) -> None:
        x = write(picture, frame.condition or "QueryDiff", (MARGIN, 29), scale=0.75, bold=True)
        miou = self._scores.miou(frame.condition)
        if miou is not None:
            x = write(picture, f"mIoU {100 * miou:.1f} %", (x + 24, 28), scale=0.55)
        write(picture, f"frame {number} of {len(self._scores.frames)}", (x + 24, 28), ink=MUTED)
        write(picture, self._title, (picture.shape[1] - MARGIN - text_width(self._title), 28), ink=MUTED)


def _panel(picture: np.ndarray, width: int, height: int, caption: str) -> np.ndarray:
    return panel(fitted(picture, width, height, DARK), width, height, caption)


def _fit(image: np.ndarray) -> tuple[int, int]:
    """Return the (height, width) of the main panel: the image's aspect inside the largest size."""
    scale = min(MAIN_WIDTH / image.shape[1], MAIN_HEIGHT / image.shape[0])
    return max(32, round(image.shape[0] * scale)), max(32, round(image.shape[1] * scale))
