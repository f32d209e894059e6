"""The standing things of one block of a street: frontages, trees, lamps, parked vehicles, signs, crossings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.big_vehicles import BIG_VEHICLES, BigVehicle
from querydiff_core.street_scenes.things.car_shapes import CARS
from querydiff_core.street_scenes.things.cycles import CYCLES, Cycle
from querydiff_core.street_scenes.things.foliage import BUSHES, KINDS, Tree
from querydiff_core.street_scenes.things.people import PEOPLE, Person
from querydiff_core.street_scenes.things.signs import TrafficLight
from querydiff_core.street_scenes.things.vehicles import Car
from querydiff_core.street_scenes.world.frontage import GRASSY, frontage
from querydiff_core.street_scenes.world.gatherings import gatherings, waiting
from querydiff_core.street_scenes.world.kerbside import kerbside
from querydiff_core.street_scenes.world.overhead import overhead
from querydiff_core.street_scenes.world.signage import signage
from querydiff_core.street_scenes.world.street import FRONTAGES, Street
from querydiff_core.street_scenes.world.verges import median


@dataclass(frozen=True)
class Block:
    """The things of one block, and whether grass lies behind the left and the right sidewalk."""

    things: tuple[Drawable, ...]
    grass: tuple[bool, bool]


@lru_cache(maxsize=64)
def block(street: Street, index: int) -> Block:
    """Return block `index` of `street`, the same at every call."""
    rng = street.rng(10, index)
    start = index * street.block + _margin(street, index)
    end = (index + 1) * street.block - _margin(street, index + 1)
    kinds = [str(rng.choice(FRONTAGES, p=street.frontages)) for _ in (-1, 1)]
    things: list[Drawable] = []
    for side, kind in zip((-1, 1), kinds, strict=True):
        things += frontage(street, kind, side, start, end, rng)
        things += kerbside(street, side, start, end, rng)
        if not street.fast:
            things += _loiterers(street, side, start, end, rng)
        things += _parked(street, side, start, end, rng)
    if street.crossing(index):
        things += _crossing(street, index, rng)
    if street.median:
        things += median(street, start, end, rng)
    if "people" in street.groups and not street.fast:
        things += gatherings(street, index, (start, end), street.rng(13, index))
    if "traffic" in street.groups and not street.fast:
        things += waiting(street, (start, end), street.rng(14, index))
    if "signals" in street.groups:
        things += signage(street, index, (start, end), street.rng(11, index))
    if "wires" in street.groups:
        things += overhead(street, index, (start, end), street.rng(12, index))
    return Block(tuple(things), (kinds[0] in GRASSY, kinds[1] in GRASSY))


def _margin(street: Street, index: int) -> float:
    half = street.crossing(index)
    return half + street.sidewalk * 0.5 + 1.2 if half else 0.0


def _loiterers(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield people who stand about and bicycles that lean on things."""
    inner, outer = street.half_width + 0.6, street.frontage_line - 0.3
    for _ in range(rng.poisson(1.2 * street.crowd)):
        s, d = rng.uniform(start, end), rng.uniform(inner, outer)
        height = float(rng.normal(1.72, 0.09) if rng.random() < 0.88 else rng.uniform(1.0, 1.5))
        facing = int(rng.choice([-1, 0, 0, 1]))
        yield Person(street.place(s, side * d), int(rng.integers(PEOPLE)), 0, facing, height)
    if rng.random() < 0.55:
        s0, d = rng.uniform(start, end), inner if rng.random() < 0.5 else outer
        motor = bool(rng.random() < 0.3)
        for step in range(int(rng.integers(1, 6))):
            s = s0 + step * rng.uniform(0.6, 2.2)
            view = int(rng.choice([-1, 1, 1, 0]))
            kind = int(rng.integers(CYCLES))
            yield Cycle(street.place(s, side * d), kind, motor and rng.random() < 0.8, False, view, 0)


def _parked(street: Street, side: int, start: float, end: float, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield vehicles parked along the kerb."""
    share = street.parked_shares[side > 0]
    if share and "traffic" in street.groups and rng.random() < 0.3:
        share = 0.97  # nose to tail
    if not street.parking or not share:
        return
    d = street.half_width - 1.05 - (1.4 if street.cycle_lane else 0)
    s = start + rng.uniform(0, 8)
    while s < end - 5:
        if rng.random() < share:
            yaw = 0.0 if side == street.side else np.pi
            yaw += float(np.arctan(street.slope(s))) + rng.normal(0, 0.02)
            if rng.random() < 0.015:
                yield BigVehicle(street.place(s, side * d), yaw, "truck", int(rng.integers(BIG_VEHICLES)))
                s += 5
            else:
                kind, color = int(rng.integers(CARS)), int(rng.integers(240))
                yield Car(street.place(s, side * d), yaw, kind, color, True, False)
        s += rng.uniform(5.3, 7.5)


def _crossing(street: Street, index: int, rng: np.random.Generator) -> Iterator[Drawable]:
    """Yield traffic lights, signs and waiting cars where another road crosses."""
    middle, half = index * street.block, street.crossing(index)
    if rng.random() < 0.7 and "signals" not in street.groups:
        state = int(rng.integers(3))
        own = street.side * (street.half_width + 0.6)
        arm = -street.side * rng.uniform(2.5, 4.5) if rng.random() < 0.4 else 0.0
        for s, d, reach in (
            (middle - half - 1.5, own, 0.0),
            (middle + half + 1.0, own, arm),
            (middle + half + 1.0, -own, 0),
        ):
            yield TrafficLight(street.place(s, d), float(rng.uniform(2.9, 3.6)), state, float(reach))
    for side in (-1, 1):
        if rng.random() < 0.5:
            kind, color = int(rng.integers(CARS)), int(rng.integers(240))
            d = side * (street.half_width + rng.uniform(4, 9))
            way = -np.pi / 2 * side
            lane = middle + street.side * side * half * 0.5
            yield Car(street.place(lane, d), float(way), kind, color, False, False)
        far = side * (street.half_width + rng.uniform(35, 60))
        for step in np.linspace(-half - 4, half + 6, 5):
            kind = int(rng.integers(BUSHES, KINDS))
            yield Tree(street.place(middle + step, far), float(rng.uniform(7, 12)), kind)
