"""Keep the worst frames of a drive as pictures."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from querydiff_core.label_space import UNLABELLED, LabelMapping, LabelSpace
from querydiff_core.utils.image_files import encode_jpeg
from querydiff_core.utils.overlay import overlay
from querydiff_core.utils.panels import DARK, grid, panel, titled
from querydiff_ros.bag_evaluation.bag_frames import LabelledFrame
from querydiff_ros.bag_evaluation.measurements import FrameScore

SHORTEST_STRETCH_NS = 10**9
STRETCHES = 8
"""Times as many stretches of the drive as frames are asked for may have a worst frame each."""
PANEL_WIDTH, GAP, HEADER = 480, 6, 36


@dataclass(frozen=True)
class WorstFrame:
    """One of them: `badness` 0 to 1, `jpeg` the picture's bytes."""

    stamp_ns: int
    badness: float
    reason: str
    jpeg: bytes


class WorstFrames:
    """The worst frames so far, as pictures; frames themselves are not kept.

    With ground truth the worst are those of the lowest mIoU, without those of the lowest confidence or consistency.
    """

    def __init__(self, count: int, label_space: LabelSpace, mapping: LabelMapping) -> None:
        """Keep `count` frames; classes that `mapping` does not tell apart are not mistaken for each other."""
        self._count, self._label_space, self._mapping = count, label_space, mapping
        self._stretch_ns = SHORTEST_STRETCH_NS
        self._pool: dict[int, WorstFrame] = {}  # the worst frame of each stretch

    @property
    def worst_first(self) -> list[WorstFrame]:
        """Return them, the worst first, at least a stretch apart: neighbours show the same."""
        chosen: list[WorstFrame] = []
        for each in sorted(self._pool.values(), key=lambda each: (-each.badness, each.stamp_ns)):
            apart = all(abs(each.stamp_ns - other.stamp_ns) >= self._stretch_ns for other in chosen)
            if apart and len(chosen) < self._count:
                chosen.append(each)
        return chosen

    def offer(self, frame: LabelledFrame, score: FrameScore) -> None:
        """Keep the frame if it is the worst of its stretch."""
        badness, reason = _judge(score)
        stretch = frame.stamp_ns // self._stretch_ns
        rival = self._pool.get(stretch)
        if self._count == 0 or (rival is not None and rival.badness >= badness):
            return
        picture = encode_jpeg(self._picture(frame, reason), 90)
        self._pool[stretch] = WorstFrame(frame.stamp_ns, badness, reason, picture.tobytes())
        if len(self._pool) > STRETCHES * self._count:
            self._join_stretches()

    def _join_stretches(self) -> None:
        """Make stretches twice as long, so that however long the drive is, a bounded number covers it."""
        self._stretch_ns *= 2
        joined: dict[int, WorstFrame] = {}
        for each in sorted(self._pool.values(), key=lambda each: each.badness):
            joined[each.stamp_ns // self._stretch_ns] = each  # the worst comes last
        self._pool = joined

    def _picture(self, frame: LabelledFrame, reason: str) -> np.ndarray:
        panels = {"input": frame.image, "prediction": overlay(frame.image, frame.prediction, self._label_space, 0.65)}
        if frame.ground_truth is not None:
            panels["ground truth"] = self._label_space.paint(frame.ground_truth)
            panels["wrong"] = self._mistakes(frame.image, frame.prediction, frame.ground_truth)
        elif frame.confidence is not None:
            panels["confidence"] = cv2.applyColorMap(frame.confidence, cv2.COLORMAP_VIRIDIS)[..., ::-1]
        height = round(PANEL_WIDTH * frame.image.shape[0] / frame.image.shape[1])
        tiles = [panel(picture, PANEL_WIDTH, height, caption) for caption, picture in panels.items()]
        title = ", ".join(filter(None, [f"{frame.stamp_ns / 1e9:.3f} s", frame.condition, reason]))
        return titled(grid(tiles, 2 if len(tiles) == 4 else len(tiles), GAP, DARK), title, DARK, HEADER)

    def _mistakes(self, image: np.ndarray, prediction: np.ndarray, ground_truth: np.ndarray) -> np.ndarray:
        """Paint wrong pixels red on a dark image."""
        picture, table = image // 3, self._mapping.score_table
        picture[(table[prediction] != table[ground_truth]) & (table[ground_truth] != UNLABELLED)] = (230, 60, 50)
        return picture


def _judge(score: FrameScore) -> tuple[float, str]:
    if score.frame_miou is not None:
        return 1 - score.frame_miou, f"mIoU {100 * score.frame_miou:.1f} %"
    shares = {"confidence": score.confidence, "consistency": score.consistency}
    lowest = min(((share, name) for name, share in shares.items() if share is not None), default=(1.0, ""))
    return 1 - lowest[0], f"{lowest[1]} {100 * lowest[0]:.1f} %" if lowest[1] else ""
