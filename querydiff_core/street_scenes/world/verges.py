"""What stands where a road has no kerb, and on the median: crash barriers, concrete walls, hedges, trees, markers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.barriers import Barrier
from querydiff_core.street_scenes.things.foliage import BUSHES, KINDS, Tree
from querydiff_core.street_scenes.things.furniture import Lamp, Post
from querydiff_core.street_scenes.world.street import Street

HEIGHTS = {"wall": (0.75, 1.2), "rail": (0.7, 0.85), "hedge": (0.5, 1.5), "fence": (0.9, 1.8)}
"""From and to how high the barriers of medians and verges are, metres."""


def verge(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield what stands along the asphalt on one `side` (-1 left, 1 right) between `start` and `end`, metres."""
    edge = side * (street.half_width + 0.5)
    kind = str(rng.choice(["", "", "rail", "wall", "hedge"] if not street.fast else ["", "rail", "rail", "wall"]))
    if kind:
        yield from _barrier(street, kind, edge, (start, end), rng)
    elif rng.random() < 0.5:  # delineators
        for s in np.arange(start + rng.uniform(0, 12), end, rng.uniform(12, 30)):
            yield Post(street.place(s, edge), 0.95, 0.13, (205.0, 205.0, 200.0))
    for _ in range(rng.poisson(1.2)):
        d = street.half_width + rng.uniform(0.8, max(street.verge, 1.0))
        place, tall = street.place(rng.uniform(start, end), side * d), float(rng.uniform(0.4, 1.6))
        yield Tree(place, tall, int(rng.integers(BUSHES)))


def median(street: Street, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield what stands between the directions."""
    if street.barrier in HEIGHTS:
        yield from _barrier(street, street.barrier, 0.0, (start, end), rng)
    elif street.barrier == "trees" and street.median > 1.2:
        for s in np.arange(start + rng.uniform(0, 8), end, rng.uniform(6, 14)):
            kind = int(rng.choice(street.tree_kinds)) if rng.random() < 0.8 else int(rng.integers(BUSHES, KINDS))
            yield Tree(street.place(s, rng.normal(0, 0.1 * street.median)), float(rng.uniform(3, 10)), kind)
    if street.lamp_spacing < 100 and rng.random() < 0.4:  # lamps with two arms
        height, grey = float(rng.uniform(7, 12)), float(rng.uniform(60, 160))
        for s in np.arange(start + rng.uniform(0, street.lamp_spacing), end, street.lamp_spacing):
            for way in (-1, 1):
                yield Lamp(street.place(s, 0.02 * way), height, way * float(street.median / 2 + 1.0), grey)


def _barrier(
    street: Street, kind: str, d: float, span: tuple[float, float], rng: np.random.Generator
) -> Iterator[Drawable]:
    index, top = int(rng.integers(64)), float(rng.uniform(*HEIGHTS[kind]))
    for near, far in pairwise(np.linspace(*span, max(int((span[1] - span[0]) / 7), 1) + 1)):
        material = "concrete" if kind == "wall" else kind
        yield Barrier(street.place(near, d), street.place(far, d), material, index, 0.0, top)
