"""Masts, wires and bridges over a block: power lines, catenary above tram rails, lamps on wires."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.furniture import Post
from querydiff_core.street_scenes.things.overhead import Bridge, Wires
from querydiff_core.street_scenes.world.street import Street


def overhead(street: Street, index: int, span: tuple[float, float], rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield what hangs over block `index` between the stations of `span`, metres, and what carries it."""
    style = street.rng(25)
    if style.random() < 0.4:
        yield from _power_line(street, index, style, rng)
    if street.tram and street.lanes > 1:
        yield from _catenary(street, index, style)
    if street.fast and rng.random() < 0.15:
        deck, width = float(rng.uniform(0.9, 1.8)), float(rng.uniform(6, 14))
        foot = street.place(rng.uniform(*span), 0.0)
        yield Bridge(foot, street.half_width + 25, float(rng.uniform(5, 6.5)), deck, width, int(rng.integers(6)))
    for _ in range(rng.poisson(1.2 * street.clutter)):  # bollards, meters, flag poles, delineators: single posts
        d = rng.choice([-1, 1]) * (street.half_width + rng.uniform(0.25, 1.0))
        tall = float(rng.choice([0.9, 1.1, 1.4, 3.0, 6.0]))
        grey = float(rng.uniform(25, 210))
        color = (grey, grey, grey) if rng.random() < 0.8 else (200.0, 60.0, 40.0)
        yield Post(street.place(rng.uniform(*span), d), tall, float(rng.uniform(0.07, 0.2)), color)


def _stations(street: Street, index: int, spacing: float) -> np.ndarray:
    """Return where masts stand in a block and where the next block has its first, so that wires meet there."""
    return np.linspace(index * street.block, (index + 1) * street.block, max(round(street.block / spacing), 1) + 1)


def _power_line(street: Street, index: int, style: np.random.Generator, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield wooden or concrete masts on one side, their wires, and a few that cross the road."""
    side, tall = int(style.choice([-1, 1])), float(style.uniform(7.5, 11))
    d, bars = side * (street.half_width + float(style.uniform(0.8, 2.0))), int(style.integers(1, 4))
    grey, count = float(style.uniform(50, 140)), int(style.integers(2, 6))
    for near, far in pairwise(_stations(street, index, float(style.uniform(25, 45)))):
        yield Post(street.place(near, d), tall, 0.26, (1.1 * grey, 0.95 * grey, 0.82 * grey), bars)
        for up, spread, wires in ((tall - 0.3, 1.4 / count, count), (tall - 2.2, 0.05, 2)):
            yield Wires(street.place(near, d, up), street.place(far, d, up), spread, wires, float(rng.uniform(0.3, 1)))
        if rng.random() < 0.4:
            across = street.place(near + rng.uniform(-6, 6), -side * street.frontage_line, rng.uniform(4, 7))
            yield Wires(street.place(near, d, tall - 0.3), across, 0.2, 1, 0.3)


def _catenary(street: Street, index: int, style: np.random.Generator) -> Iterator[Drawable]:
    """Yield the contact wires above the rails, and what holds them: masts on both sides and wires between."""
    height, grey = float(style.uniform(5.3, 6.2)), float(style.uniform(40, 130))
    edge = street.half_width + 0.7
    for near, far in pairwise(_stations(street, index, float(style.uniform(22, 35)))):
        for side in (-1, 1):
            yield Post(street.place(near, side * edge), height + 1.6, 0.2, (grey, grey, grey))
        yield Wires(street.place(near, -edge, height + 1.3), street.place(near + 0.1, edge, height + 1.3), 0.1, 1, 0.6)
        d = -street.side * street.lane(0)
        for up, sag in ((height, 0.0), (height + 0.9, 0.6)):
            yield Wires(street.place(near, d, up), street.place(far, d, up), 0.2, 1, sag)
