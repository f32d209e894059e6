"""Where traffic lights and signs stand: at junctions, at crossings for people, along the kerb, over the road."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.overhead import Gantry
from querydiff_core.street_scenes.things.signals import BACK, HOUSINGS, Signal
from querydiff_core.street_scenes.things.signs import BOARDS, MORE_SIGNS, SIGNS, SignMast
from querydiff_core.street_scenes.world.street import Street


def signage(street: Street, index: int, span: tuple[float, float], rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield the lights and signs of block `index` between the stations of `span`, metres."""
    half = street.crossing(index)
    if half and rng.random() < 0.75:
        yield from _signals(street, index * street.block, half, rng)
    elif not street.fast and rng.random() < 0.25:  # a crossing for people between junctions
        yield from _signals(street, rng.uniform(*span), 1.5, rng)
    yield from _masts(street, span, rng)
    if rng.random() < (0.45 if street.fast else 0.2 if street.lanes >= 4 else 0.06):
        yield _gantry(street, rng.uniform(*span), rng)


def _signals(street: Street, middle: float, half: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield the lights for both directions around `middle`, of the one style that a town has."""
    style = street.rng(24)
    housing, grey = int(style.integers(HOUSINGS)), float(style.uniform(25, 170))
    armed, far, walkers = style.random() < 0.5, style.random() < 0.6, style.random() < 0.6
    state, side = int(rng.choice([0, 0, 1, 2, 2])), street.side
    edge, wide = street.half_width + 0.6, max(street.lanes / 2, 0.7) * street.lane_width
    for ahead, own, back in ((-1, True, 0), (1, True, 0), (1, False, 0), (-1, False, 1), (1, True, 1)):
        shown = BACK if back else state
        if rng.random() < 0.4 if back else own and ahead > 0 and not far:
            continue
        d = side * edge * (1 if own else -1) * (-1 if back and ahead > 0 else 1)
        reach = wide * rng.uniform(0.5, 1.1) + 1.0 if armed and own and not back else 0.0
        heads = tuple(float(v) for v in np.linspace(1.0, rng.uniform(0.35, 0.9), int(rng.integers(1, 4))))
        yield Signal(
            street.place(middle + ahead * (half + rng.uniform(1.0, 2.5)), d),
            height=float(rng.uniform(2.7, 3.4)) if rng.random() < 0.85 or not reach else 0.0,
            housing=housing,
            state=shown,
            grey=grey,
            arm=-np.sign(d) * reach,
            arm_height=float(rng.uniform(5.0, 6.4)),
            heads=heads if reach else (),
            walkers=bool(walkers and rng.random() < 0.7),
        )
    if street.median > 1.2 and rng.random() < 0.6:
        yield Signal(street.place(middle + half + 1.5, 0.0), 2.9, housing, state, grey)


def _masts(street: Street, span: tuple[float, float], rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield signs along both kerbs, some of them seen from behind, several on one post, boards among them."""
    for side in (-1, 1):
        for _ in range(rng.poisson(1.6 * street.clutter)):
            place = street.place(rng.uniform(*span), side * (street.half_width + rng.uniform(0.3, 1.2)))
            back = bool(rng.random() < (0.15 if side == street.side else 0.5))
            if rng.random() < 0.15:
                wide = float(rng.uniform(1.2, 3.2))
                yield SignMast(place, (int(rng.choice(BOARDS)),), (wide,), float(rng.uniform(2.2, 4.5)), back, 0.12)
                continue
            kinds = tuple(int(kind) for kind in rng.integers(0, MORE_SIGNS, rng.choice([1, 1, 1, 2, 2, 3])))
            kinds = tuple(kind if kind < SIGNS or rng.random() < 0.8 else kind % SIGNS for kind in kinds)
            sizes = tuple(float(0.68 * rng.uniform(0.7, 1.5)) for _ in kinds)
            yield SignMast(place, kinds, sizes, float(rng.uniform(2.3, 3.6)), back)
    if street.median > 1.0 and rng.random() < 0.5:
        yield SignMast(street.place(rng.uniform(*span), 0.0), (int(rng.integers(SIGNS, MORE_SIGNS)),), (0.75,), 2.2)


def _gantry(street: Street, s: float, rng: np.random.Generator) -> Gantry:
    """Return boards on a beam over the own direction, or over the whole road."""
    edge = street.half_width + 1.0
    near = 0.0 if rng.random() < 0.6 else -edge * street.side
    kinds = tuple(int(kind) for kind in rng.choice(BOARDS, int(rng.integers(1, 4))))
    posts = 1 if near == 0.0 and rng.random() < 0.6 else 2
    height, grey = float(rng.uniform(5.2, 6.2)), float(rng.uniform(60, 170))
    return Gantry(street.place(s, 0.0), near, edge * street.side, height, kinds, grey, posts)
