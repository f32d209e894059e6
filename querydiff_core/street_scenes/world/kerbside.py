"""What stands between the kerb and the sidewalk: trees, lamps, masts, signs, bollards, guard rails, boxes."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.barriers import RAILINGS, Barrier
from querydiff_core.street_scenes.things.foliage import Tree
from querydiff_core.street_scenes.things.furniture import Box, Lamp, Post
from querydiff_core.street_scenes.things.signs import SIGNS, SignPost
from querydiff_core.street_scenes.world.street import Street
from querydiff_core.street_scenes.world.verges import verge


def kerbside(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield what stands along the kerb of one `side` (-1 left, 1 right) between `start` and `end`, metres."""
    kerb = side * (street.half_width + 0.55)
    yield from _trees(street, kerb + 0.4 * side, start, end, rng)
    if side == street.side or rng.random() < 0.6:
        yield from _lamps(street, side, start, end, rng)
    yield from _masts(street, side, start, end, rng)
    for _ in range(rng.poisson(2.0 * street.clutter)):
        kind = int(rng.integers(SIGNS))
        size = 0.65 if kind % 9 not in (6, 7) else 1.2
        place = street.place(rng.uniform(start, end), kerb + 0.1 * side)
        yield SignPost(place, kind, float(rng.uniform(2.0, 3.0)), float(size * rng.uniform(0.8, 1.3)))
    if street.soft:
        yield from verge(street, side, start, end, rng)
        return
    if rng.random() < 0.3:
        grey = float(rng.uniform(20, 130))
        for s in np.arange(start, start + rng.uniform(6, 25), rng.uniform(1.4, 2.5)):
            yield Post(street.place(s, kerb - 0.1 * side), 0.95, 0.13, (grey, grey, grey))
    yield from _guard_rails(street, side, start, end, rng)
    for _ in range(int(rng.integers(0, 3))):
        box = (float(rng.uniform(0.4, 0.8)), float(rng.uniform(0.7, 1.4)), float(rng.uniform(0.4, 1.5)))
        red, green, blue = (float(c) for c in rng.uniform(25, 120, 3))
        yield Box(street.place(rng.uniform(start, end), kerb + 0.3 * side), box, (red, green, blue))


def _trees(street: Street, d: float, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    for s in np.arange(start + rng.uniform(0, street.tree_spacing), end, street.tree_spacing):
        if street.tree_spacing < 40 and rng.random() < 0.8:
            yield Tree(street.place(s, d), float(rng.uniform(5, 11)), int(rng.choice(street.tree_kinds)))


def _lamps(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield lamps: on arms over the road, or on top of low posts."""
    low = rng.random() < 0.25
    height, grey = float(rng.uniform(3.2, 4.5) if low else rng.uniform(5, 10)), float(rng.uniform(25, 150))
    arm = 0.0 if low else float(-side * rng.uniform(0.8, 2.4))
    for s in np.arange(start + rng.uniform(0, street.lamp_spacing), end, street.lamp_spacing):
        yield Lamp(street.place(s, side * (street.half_width + 0.55)), height, arm, grey)


def _masts(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield the poles of wires in some blocks, and bare ones that carry nothing any more."""
    grey, bars = float(rng.uniform(30, 110)), int(rng.integers(0, 3))
    color = (1.1 * grey, 0.95 * grey, 0.8 * grey)
    outer = side * (street.frontage_line - 0.4)
    if rng.random() < 0.25:
        for s in np.arange(start + rng.uniform(0, 20), end, rng.uniform(22, 40)):
            yield Post(street.place(s, outer), float(rng.uniform(7, 9)), 0.2, color, bars)
    for _ in range(rng.poisson(0.8 * street.clutter)):
        d = side * rng.uniform(street.half_width + 0.4, street.frontage_line - 0.3)
        yield Post(street.place(rng.uniform(start, end), d), float(rng.uniform(2.2, 4.5)), 0.09, (grey, grey, grey))


def _guard_rails(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield the railings that keep walkers off the road near a junction."""
    if rng.random() > 0.3:
        return
    index, first = RAILINGS * int(rng.integers(8)), start if rng.random() < 0.5 else end - 12
    for s in np.arange(first, first + rng.uniform(5, 13), 2.0):
        near, far = (street.place(at, side * (street.half_width + 0.35)) for at in (s, s + 2.0))
        yield Barrier(near, far, "fence", index, 0.0, 1.0)
