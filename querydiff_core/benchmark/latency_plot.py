"""Draw latencies: for each engine the share of calls that took at most so many milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from querydiff_core.benchmark.engine_times import EngineTimes
from querydiff_core.utils.image_files import write_image

WIDTH, HEIGHT = 1200, 700
LEFT, RIGHT, TOP, BOTTOM = 90, 40, 70, 80
"""Margins in pixels."""
COLORS = ((31, 119, 180), (214, 39, 40), (44, 160, 44), (255, 127, 14), (148, 103, 189), (140, 86, 75))
INK, FAINT = (40, 40, 40), (225, 225, 225)


def write_latency_plot(path: Path, times: Sequence[EngineTimes], title: str) -> None:
    """Write the picture of `times` in the format that the suffix of `path` names."""
    canvas = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    longest = 1.05 * max(row.latency(100) for row in times)
    _draw_axes(canvas, longest)
    _write(canvas, title, (LEFT, 40), 0.8)
    for index, row in enumerate(times):
        color = COLORS[index % len(COLORS)]
        _draw_curve(canvas, np.sort(row.total) * 1000, longest, color)
        text = f"{Path(row.name).name}: p50 {row.latency(50):.1f} ms, p99 {row.latency(99):.1f} ms"
        left = WIDTH - RIGHT - 20 - cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, 0.55, 1)[0][0]
        _write(canvas, text, (left, HEIGHT - BOTTOM - 25 - 28 * (len(times) - 1 - index)), 0.55, color)
    write_image(path, canvas)


def _draw_axes(canvas: np.ndarray, longest: float) -> None:
    step = _round_step(longest / 8)
    for tick in np.arange(0, longest, step):
        x = _x(tick, longest)
        cv2.line(canvas, (x, TOP), (x, HEIGHT - BOTTOM), FAINT, 1)
        _write(canvas, f"{tick:g}", (x - 12, HEIGHT - BOTTOM + 25), 0.5)
    for percent in range(0, 101, 20):
        y = _y(percent / 100)
        cv2.line(canvas, (LEFT, y), (WIDTH - RIGHT, y), FAINT, 1)
        _write(canvas, f"{percent} %", (LEFT - 65, y + 5), 0.5)
    _write(canvas, "milliseconds a call", (WIDTH // 2 - 80, HEIGHT - 25), 0.6)


def _draw_curve(canvas: np.ndarray, milliseconds: np.ndarray, longest: float, color: tuple[int, int, int]) -> None:
    shares = np.arange(len(milliseconds) + 1) / len(milliseconds)
    points = [(LEFT, _y(0))]
    for before, after, value in zip(shares, shares[1:], milliseconds, strict=False):  # a staircase
        points += [(_x(value, longest), _y(before)), (_x(value, longest), _y(after))]
    points.append((WIDTH - RIGHT, _y(1)))
    cv2.polylines(canvas, [np.array(points, np.int32)], False, color, 2, cv2.LINE_AA)


def _round_step(at_least: float) -> float:
    magnitude = 10.0 ** np.floor(np.log10(at_least))
    return float(next(factor * magnitude for factor in (1, 2, 5, 10) if factor * magnitude >= at_least))


def _x(milliseconds: float, longest: float) -> int:
    return LEFT + round((WIDTH - LEFT - RIGHT) * float(milliseconds) / longest)


def _y(share: float) -> int:
    return HEIGHT - BOTTOM - round((HEIGHT - TOP - BOTTOM) * float(share))


def _write(
    canvas: np.ndarray, text: str, place: tuple[int, int], scale: float, color: tuple[int, int, int] = INK
) -> None:
    cv2.putText(canvas, text, place, cv2.FONT_HERSHEY_SIMPLEX, scale, color, 1, cv2.LINE_AA)
