"""What was measured of each frame, in the order of the drive."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class FrameScore:
    """Numbers of one labelled frame, shares 0 to 1; None where they are not known.

    `miou`: over a window of the frames up to this one. `frame_miou`: of this one alone. `confidence`: its mean over
    the pixels. `consistency`: share of pixels that keep their label along their motion since the frame before.
    """

    stamp_ns: int
    condition: str
    miou: float | None
    frame_miou: float | None
    confidence: float | None
    consistency: float | None


def scores_csv(scores: Iterable[FrameScore]) -> str:
    """Return the scores as CSV with a header, one row a frame."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["stamp_ns", "condition", "miou", "frame_miou", "confidence", "consistency"])
    for score in scores:
        shares = (score.miou, score.frame_miou, score.confidence, score.consistency)
        writer.writerow([score.stamp_ns, score.condition, *("" if s is None else f"{s:.6f}" for s in shares)])
    return text.getvalue()


def mean_share(shares: Iterable[float | None]) -> float | None:
    """Return the mean of the known shares, None if there is none."""
    known = [share for share in shares if share is not None]
    return float(np.mean(known)) if known else None
