"""Charts of a comparison: the gain by class and domain, and mIoU by domain."""

from __future__ import annotations

import numpy as np

from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.utils.drawing import (
    FAINT,
    INK,
    Box,
    Color,
    Drawing,
    Line,
    Words,
    readable_on,
    shade,
    words_width,
)

COLORS: tuple[Color, ...] = (
    (31, 119, 180),
    (230, 126, 34),
    (44, 140, 80),
    (148, 103, 189),
    (140, 86, 75),
    (90, 90, 90),
)
CELL_WIDTH, CELL_HEIGHT = 62, 22
PLOT_HEIGHT = 220


def heat_map(comparison: Comparison, a: str, b: str) -> Drawing:
    """Draw the gain of `b` over `a` in percentage points, a row a class and a column a domain (as the paper's Fig. 3).

    The last row is the gain of the mIoU; green is better, red worse, a dot where one of them has no score.
    """
    gain = 100 * comparison.gain(a, b)
    mean = [100 * _difference(comparison.miou(a, domain), comparison.miou(b, domain)) for domain in comparison.domains]
    rows = [*zip(comparison.classes, gain, strict=True), ("mIoU", np.array(mean))]
    left = 16 + max(words_width(name) for name, _ in rows)
    top = 34 + max(words_width(domain) for domain in comparison.domains)
    width = max(left + CELL_WIDTH * len(comparison.domains) + 16, words_width(f"{b} less {a}, points of IoU") + 16)
    drawing = Drawing(width, top + CELL_HEIGHT * len(rows) + 24, f"Gain of {b} over {a} by class and domain")
    drawing.add(Words(8, 18, f"{b} less {a}, points of IoU"))
    for column, domain in enumerate(comparison.domains):
        drawing.add(Words(left + CELL_WIDTH * (column + 0.5) + 4, top - 6, domain, up=True))
    finite = np.abs(gain[np.isfinite(gain)])
    reach = max(5.0, float(np.percentile(finite, 95)) if finite.size else 0.0)  # one outlier must not pale the rest
    for row, (name, values) in enumerate(rows):
        y = top + CELL_HEIGHT * row + (8 if name == "mIoU" and row == len(rows) - 1 else 0)
        drawing.add(Words(left - 8, y + 15, name, "end"))
        for column, value in enumerate(values):
            drawing.add(
                *_cell(left + CELL_WIDTH * column, y, float(value), reach, f"{name}, {comparison.domains[column]}")
            )
    return drawing


def bar_chart(comparison: Comparison) -> Drawing:
    """Draw the mIoU by domain in percent, a bar for each result."""
    names, domains = comparison.names, comparison.domains
    bar = 26
    group = max(bar * len(names) + 24, max(words_width(domain) for domain in domains) + 16)
    legend = max(words_width(name) for name in names) + 36
    drawing = Drawing(56 + group * len(domains) + legend, PLOT_HEIGHT + 64, "mIoU by domain")
    base, left = PLOT_HEIGHT + 32, 44
    top = _round_up(max((comparison.miou(name, d) or 0.0 for name in names for d in domains), default=0.0))
    for tick in np.linspace(0, top, 6):
        y = base - PLOT_HEIGHT * tick / top
        drawing.add(Line(left, y, left + group * len(domains), y), Words(left - 6, y + 4, f"{100 * tick:.0f}", "end"))
    drawing.add(Words(8, 16, "mIoU, %"))
    for column, domain in enumerate(domains):
        center = left + group * (column + 0.5)
        drawing.add(Words(center, base + 18, domain, "middle"))
        for index, name in enumerate(names):
            x = center + bar * (index - len(names) / 2)
            drawing.add(*_bar(x, base, bar, comparison.miou(name, domain), top, f"{name}, {domain}", _color(index)))
    drawing.add(Line(left, base, left + group * len(domains), base, INK))
    for index, name in enumerate(names):
        x, y = left + group * len(domains) + 12, 40 + 20 * index
        drawing.add(Box(x, y - 10, 12, 12, _color(index)), Words(x + 18, y, name))
    return drawing


def _cell(x: float, y: float, value: float, reach: float, where: str) -> tuple[Box | Words, ...]:
    middle = x + CELL_WIDTH / 2
    if not np.isfinite(value):
        return (Words(middle, y + 15, "·", "middle", FAINT),)
    color = shade(value / reach)
    box = Box(x + 1, y + 1, CELL_WIDTH - 2, CELL_HEIGHT - 2, color, f"{where}: {value:+.2f}")
    return box, Words(middle, y + 15, f"{round(value, 1) + 0.0:+.1f}", "middle", readable_on(color))


def _bar(
    x: float, base: float, width: float, miou: float | None, top: float, where: str, color: Color
) -> tuple[Box | Words, ...]:
    if miou is None:
        return (Words(x + width / 2, base - 6, "-", "middle", FAINT),)
    height = PLOT_HEIGHT * miou / top
    box = Box(x + 1, base - height, width - 2, height, color, f"{where}: {100 * miou:.2f}")
    return box, Words(x + width / 2, base - height - 4, f"{100 * miou:.0f}", "middle")


def _color(index: int) -> Color:
    return COLORS[index % len(COLORS)]


def _difference(a: float | None, b: float | None) -> float:
    return float("nan") if a is None or b is None else b - a


def _round_up(share: float) -> float:
    """Return the next tenth, at least one."""
    return max(1, np.ceil(10 * share)) / 10
