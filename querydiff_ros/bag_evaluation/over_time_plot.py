"""Draw what was measured over the time of a drive."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from querydiff_core.utils.plots import clear_up, new_figure, picture
from querydiff_ros.bag_evaluation.measurements import FrameScore

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WIDTH, STRIP, HEADER, LEGEND_ROW = 1200, 230, 130, 32
"""Pixels: the width, and the heights of a strip, of title and seconds together, and of a row of the legend."""
LEGEND_LETTERS = 90
GROUNDS = ("#d6e6f5", "#fbe3cb", "#d9efd6", "#e6dcf0", "#f7d6d6", "#e4e4e4", "#fdf6c4", "#cfeeee", "#f3d0ea")
"""Behind the stretches of a condition, in the order in which conditions first come."""
STRIPS = (
    ("miou", "mIoU over\n10 frames, %"),
    ("confidence", "mean\nconfidence, %"),
    ("consistency", "labels kept\nin motion, %"),
)


def over_time_plot(title: str, scores: Sequence[FrameScore]) -> np.ndarray:
    """Return the picture, uint8 RGB `(H, W, 3)`: a strip for each quantity that is known of some frame."""
    from matplotlib.patches import Patch

    strips = [strip for strip in STRIPS if any(getattr(score, strip[0]) is not None for score in scores)] or STRIPS
    conditions = list(dict.fromkeys(score.condition for score in scores))
    columns = max(1, LEGEND_LETTERS // (6 + max(map(len, conditions))))
    figure = new_figure(WIDTH, HEADER + len(strips) * STRIP + -(-len(conditions) // columns) * LEGEND_ROW)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    rows = figure.subplots(len(strips), sharex=True, squeeze=False)[:, 0]
    seconds = np.array([score.stamp_ns - scores[0].stamp_ns for score in scores]) / 1e9
    ends = np.append(seconds[1:], max(seconds[-1], 0.1))
    for index, (axes, (name, caption)) in enumerate(zip(rows, strips, strict=True)):
        clear_up(axes)
        _draw_conditions(axes, seconds, ends, [conditions.index(score.condition) for score in scores])
        # At a share that is not known (NaN) the line breaks.
        shares = [np.nan if share is None else 100 * share for share in (getattr(score, name) for score in scores)]
        axes.plot(seconds, shares, ".-", color=f"C{index}", markersize=2.5, linewidth=1.5, clip_on=False)
        axes.set(xlim=(0, ends[-1]), ylim=(0, 100), yticks=range(0, 101, 25), ylabel=caption)
    grounds = [Patch(color=_ground(index), label=condition) for index, condition in enumerate(conditions)]
    rows[0].legend(handles=grounds, loc="lower left", bbox_to_anchor=(0, 1), ncol=columns, frameon=False)
    rows[-1].set_xlabel("time since the first frame, s")
    return picture(figure)


def _draw_conditions(axes: Axes, seconds: np.ndarray, ends: np.ndarray, conditions: Sequence[int]) -> None:
    """Colour the ground of each stretch of equal condition."""
    first = 0
    for condition, stretch in groupby(conditions):
        after = first + len(list(stretch))
        axes.axvspan(seconds[first], ends[after - 1], color=_ground(condition), linewidth=0, zorder=0)
        first = after


def _ground(index: int) -> str:
    return GROUNDS[index % len(GROUNDS)]
