"""What comes in groups: people who wait or talk, rows of cycles, vehicles that stop at the kerb."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.big_vehicles import BIG_VEHICLES, BigVehicle, body_size
from querydiff_core.street_scenes.things.cycles import CYCLES, Cycle
from querydiff_core.street_scenes.things.people import PEOPLE, PHASES, Person
from querydiff_core.street_scenes.world.street import Street


def gatherings(street: Street, index: int, span: tuple[float, float], rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield groups of people at stops, corners and doors of block `index`, and rows of bicycles or motorcycles."""
    half, side = street.crossing(index), int(rng.choice([-1, 1]))
    kerb = street.half_width + 0.5
    for _ in range(rng.poisson(0.7 * street.crowd)):
        s = index * street.block - half - rng.uniform(1, 4) if half and rng.random() < 0.5 else rng.uniform(*span)
        side = int(rng.choice([-1, 1]))
        for _ in range(int(rng.integers(2, 9))):
            d = side * (kerb + rng.uniform(0, max(street.frontage_line - kerb - 0.2, 0.5)))
            yield _person(street, s + rng.normal(0, 1.3), d, rng)
    if rng.random() < 0.15 and not street.soft:  # somebody on the road: beside a car, at works, running across
        yield _person(street, rng.uniform(*span), side * rng.uniform(0.3, 1.0) * street.half_width, rng)
    if rng.random() < 0.3:
        motor, kind = bool(rng.random() < 0.5), int(rng.integers(2 * CYCLES))
        view = int(rng.choice([-1, 1, 0, 2]))
        d = side * (kerb + rng.uniform(0.1, 1.0)) if not motor or rng.random() < 0.5 else side * (kerb - 1.3)
        s, step = rng.uniform(*span), float(rng.uniform(0.5, 1.1))
        for number in range(int(rng.integers(4, 14))):
            alike = kind if rng.random() < 0.2 else int(rng.integers(2 * CYCLES))  # hired ones are all alike
            yield Cycle(street.place(s + step * number, d), alike, motor, False, view, 0)


def _person(street: Street, s: float, d: float, rng: np.random.Generator) -> Person:
    height = float(rng.normal(1.7, 0.1) if rng.random() < 0.85 else rng.uniform(0.95, 1.5))
    kind, phase, facing = int(rng.integers(PEOPLE)), int(rng.integers(PHASES)), int(rng.choice([-1, 0, 1]))
    return Person(street.place(s, d), kind, phase, facing, height)


def waiting(street: Street, span: tuple[float, float], rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield the buses at stops, and the lorries and vans that are unloaded at the kerb."""
    for side in (-1, 1):
        if rng.random() < 0.8 or (street.parked_shares[side > 0] and street.parking):
            continue
        families = ("bus", "coach", "minibus", "box van", "box van", "truck", "tipper")
        family, kind = str(rng.choice(families)), int(rng.integers(2 * BIG_VEHICLES))
        length = body_size(family, kind)[2]
        if span[1] - span[0] < length + 8:
            continue
        s = rng.uniform(span[0] + length / 2, span[1] - length / 2)
        yaw = (0.0 if side == street.side else np.pi) + float(np.arctan(street.slope(s)))
        yield BigVehicle(street.place(s, side * (street.half_width - 1.35)), yaw, family, kind)
