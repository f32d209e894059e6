"""Draw what a data check found: class frequencies as bars, and samples with their labels laid over them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from querydiff_core.data.check_report import share
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.pairing import Pair
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.image_files import read_image
from querydiff_core.utils.overlay import overlay
from querydiff_core.utils.panels import fitted, grid, titled
from querydiff_core.utils.plots import clear_up, new_figure, picture

SMALLEST = 1e-3  # percent at the left end of the logarithmic axis
TILE_HEIGHT, WIDEST = 240, 480  # pixels; samples are fitted into what the first of them needs
SAMPLES = 6


def bar_chart(class_pixels: np.ndarray, title: str) -> np.ndarray:
    """Return the shares of the classes as bars on a logarithmic axis, uint8 RGB `(H, W, 3)`.

    `class_pixels`: `(19,)`.
    """
    names, palette = cityscapes().names, np.array(cityscapes().palette) / 255
    shares = class_pixels / max(class_pixels.sum(), 1)
    figure = new_figure(1000, 860)
    figure.suptitle(title, x=0.01, horizontalalignment="left")
    axes = figure.add_subplot()
    clear_up(axes)
    axes.grid(visible=False, axis="y")
    bars = axes.barh(names, np.maximum(100 * shares, SMALLEST), color=palette)
    axes.bar_label(bars, [f"{share(part, 1)} %" if part else "none" for part in shares], padding=4)
    axes.set(xscale="log", xlim=(SMALLEST, 100), xlabel="share of labelled pixels, %")
    axes.xaxis.set_major_formatter("{x:g}")
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.tick_params(axis="y", length=0)
    return picture(figure)


def sample_sheet(pairs: Sequence[Pair], decoder: LabelDecoder) -> np.ndarray | None:
    """Return a few images beside themselves with their labels laid over, uint8 RGB; None if none has labels."""
    chosen = [(pair.image, pair.labels) for pair in pairs if pair.labels is not None]
    if not chosen:
        return None
    rows: list[np.ndarray] = []
    width = 0
    for position in np.linspace(0, len(chosen) - 1, min(SAMPLES, len(chosen))).round().astype(int):
        file, labels = chosen[position]
        image = read_image(file)
        width = width or max(1, min(WIDEST, round(image.shape[1] * TILE_HEIGHT / image.shape[0])))
        painted = overlay(image, decoder.decode(labels).train_ids, cityscapes(), 0.6)
        rows.append(
            titled(grid([fitted(each, width, TILE_HEIGHT) for each in (image, painted)], 2), file.name, height=24)
        )
    return grid(rows, min(2, len(rows)))
