"""Charts of a comparison: the gain by class and domain, and mIoU by domain."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.utils.plots import add_hint, clear_up, new_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.cm import ScalarMappable
    from matplotlib.figure import Figure

CELL_WIDTH, CELL_HEIGHT, BAR, BARS_HEIGHT, LETTER = 100, 38, 54, 560, 13
"""Pixels; `LETTER` is what a letter needs at most on average."""
WORSE, BETTER = "#b2182b", "#1b7837"


def heat_map(comparison: Comparison, a: str, b: str) -> Figure:
    """Draw the gain of `b` over `a` in percentage points, a row a class and a column a domain (as the paper's Fig. 3).

    The last row is the gain of the mIoU; green is better, red worse, a dot where one of them has no score.
    """
    classes, domains = comparison.classes, comparison.domains
    gain = comparison.gain(a, b)
    mious = np.array([[comparison.miou(name, domain) for domain in domains] for name in (a, b)], np.float64)
    title = f"{b} less {a}, points of IoU"
    width = LETTER * _longest(classes) + CELL_WIDTH * len(domains) + 190
    height = LETTER * _longest(domains) + CELL_HEIGHT * (len(classes) + 1) + 90
    figure = new_figure(max(width, LETTER * len(title) + 40), max(height, 360))
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    axes = figure.add_subplot()
    colors = _colors(100 * gain)
    for row, (name, values) in enumerate([*zip(classes, gain, strict=True), ("mIoU", mious[1] - mious[0])]):
        for column, value in enumerate(values):
            _draw_cell(axes, column, row, 100 * value, colors, f"{name}, {domains[column]}")
    axes.axhline(len(classes) - 0.5, color="0.2", linewidth=1)
    axes.set_xticks(range(len(domains)), domains, rotation=90)
    axes.set_yticks(range(len(classes) + 1), [*classes, "mIoU"])
    axes.set(xlim=(-0.5, len(domains) - 0.5), ylim=(len(classes) + 0.5, -0.5))
    axes.spines[:].set_visible(False)
    axes.tick_params(length=0, labeltop=True, labelbottom=False)
    figure.colorbar(colors, ax=axes, extend="both", aspect=40, label="points of IoU")
    return figure


def bar_chart(comparison: Comparison) -> Figure:
    """Draw the mIoU by domain in percent, a bar for each result."""
    names, domains = comparison.names, comparison.domains
    group = max(BAR * (len(names) + 1), LETTER * (_longest(domains) + 2))
    figure = new_figure(group * len(domains) + LETTER * _longest(names) + 220, BARS_HEIGHT)
    axes = figure.add_subplot()
    clear_up(axes)
    axes.grid(visible=False, axis="x")
    width = BAR / group
    for index, name in enumerate(names):
        mious = [comparison.miou(name, domain) for domain in domains]
        places = np.arange(len(domains)) + width * (index - (len(names) - 1) / 2)
        bars = axes.bar(places, [100 * (miou or 0.0) for miou in mious], 0.95 * width, label=name)
        axes.bar_label(bars, ["-" if miou is None else f"{100 * miou:.1f}" for miou in mious], padding=2, fontsize=9)
        for bar, domain, miou in zip(bars, domains, mious, strict=True):
            add_hint(bar, f"{name}, {domain}: {'no score' if miou is None else f'{100 * miou:.2f}'}")
    axes.set_xticks(range(len(domains)), domains)
    axes.set(ylabel="mIoU, %", xlim=(-0.5, len(domains) - 0.5))
    axes.margins(y=0.1)
    axes.legend(loc="upper left", bbox_to_anchor=(1, 1), frameon=False)
    return figure


def _longest(names: list[str]) -> int:
    return max(map(len, names), default=0)


def _colors(points: np.ndarray) -> ScalarMappable:
    """Return the colours of differences, deepest where 19 of 20 end, so that one outlier does not pale the rest."""
    from matplotlib.cm import ScalarMappable
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    finite = np.abs(points[np.isfinite(points)])
    reach = max(5.0, float(np.percentile(finite, 95)) if finite.size else 0.0)
    return ScalarMappable(Normalize(-reach, reach), LinearSegmentedColormap.from_list("gain", (WORSE, "white", BETTER)))


def _draw_cell(axes: Axes, column: int, row: int, points: np.floating, colors: ScalarMappable, where: str) -> None:
    from matplotlib.patches import Rectangle

    if not np.isfinite(points):
        axes.text(column, row, "·", color="0.6", ha="center", va="center")
        return
    color = colors.to_rgba(np.array(points))
    cell = axes.add_patch(Rectangle((column - 0.48, row - 0.46), 0.96, 0.92, facecolor=color))
    add_hint(cell, f"{where}: {points:+.2f}")
    ink = "white" if np.dot(color[:3], (0.299, 0.587, 0.114)) < 0.55 else "black"
    axes.text(column, row, f"{round(points, 1) + 0.0:+.1f}", color=ink, fontsize=9, ha="center", va="center")
