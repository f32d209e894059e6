"""Draw latencies: for each engine the share of calls that took at most so many milliseconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from querydiff_core.benchmark.engine_times import EngineTimes
from querydiff_core.utils.image_files import write_image
from querydiff_core.utils.plots import clear_up, new_figure, picture

WIDTH, HEIGHT = 1200, 700


def write_latency_plot(path: Path, times: Sequence[EngineTimes], title: str) -> None:
    """Write the picture of `times` in the format that the suffix of `path` names."""
    figure = new_figure(WIDTH, HEIGHT)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    axes = figure.add_subplot()
    clear_up(axes)
    for row in times:
        text = f"{Path(row.name).name}: p50 {row.latency(50):.1f} ms, p99 {row.latency(99):.1f} ms"
        shares = np.linspace(0, 100, len(row.total) + 1)
        axes.step([0, *np.sort(row.total) * 1000], shares, where="post", label=text)
    axes.set(xlim=(0, None), ylim=(0, 102), xlabel="latency of a call, ms", ylabel="calls that took at most this, %")
    axes.legend(loc="upper left", bbox_to_anchor=(0, -0.14), frameon=False)
    write_image(path, picture(figure))
