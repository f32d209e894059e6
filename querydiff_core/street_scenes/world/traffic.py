"""What moves: endless rows of vehicles, cyclists and walkers, each row at one speed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.big_vehicles import BIG_VEHICLES, BigVehicle
from querydiff_core.street_scenes.things.car_shapes import CARS
from querydiff_core.street_scenes.things.cycles import CYCLES, Cycle
from querydiff_core.street_scenes.things.people import PEOPLE, PHASES, Person
from querydiff_core.street_scenes.things.vehicles import Car
from querydiff_core.street_scenes.world.street import Street

VISIBLE = (-6.0, 150.0)
"""From and to how many metres before the camera moving things are drawn."""


@dataclass(frozen=True)
class Row:
    """An endless row of slots, `spacing` metres apart, moving at `speed` (m/s, signed), `d` from the centre line."""

    purpose: int
    what: str
    d: float
    speed: float
    spacing: float
    share: float


def traffic(street: Street, time: float, camera_s: float, ego_speed: float, driving: bool) -> Iterator[Drawable]:
    """Yield what moves around a camera at `camera_s` at `time` seconds; own-lane traffic keeps the camera's speed.

    `driving`: people cross only the far half of the road, since the camera does not stop for them, and cyclists keep
    their direction, where single scenes also show some that turn.
    """
    for row in _rows(street, ego_speed):
        first = int(np.floor((camera_s + VISIBLE[0] - row.speed * time) / row.spacing)) - 1
        last = int(np.ceil((camera_s + VISIBLE[1] - row.speed * time) / row.spacing)) + 1
        for slot in range(first, last):
            if street.chance(row.purpose, slot) >= row.share:
                continue
            s = (slot + 0.1 + 0.8 * street.chance(row.purpose + 100, slot)) * row.spacing + row.speed * time
            if VISIBLE[0] < s - camera_s < VISIBLE[1]:
                rng = street.rng(row.purpose, slot)
                yield from _mover(street, row, s, time, rng, s - camera_s, driving)
    yield from _crossers(street, time, camera_s, driving)


def _rows(street: Street, ego_speed: float) -> Iterator[Row]:
    rng = street.rng(20)
    side, lane = street.side, street.lane_width
    busy = rng.uniform(0.12, 0.6)
    lanes = max(street.lanes // 2, 1)
    for number in range(lanes):
        offset = (number + 0.5) * lane if street.lanes > 1 else 0.0
        yield Row(30 + number, "vehicle", side * offset, ego_speed, 19.0, busy)
        if street.lanes > 1 and not (street.tram and number == 0):
            yield Row(40 + number, "vehicle", -side * offset, -rng.uniform(6, 12), 21.0, busy)
    if street.tram and street.lanes > 1:
        yield Row(45, "tram", -side * 0.5 * lane, -7.0, 70.0, 0.75)
    edge = street.half_width - (2.6 if street.parking else 0.75)
    riders = rng.uniform(0.0, 0.3)
    yield Row(50, "cycle", side * edge, rng.uniform(3.5, 6), 13.0, riders)
    yield Row(51, "cycle", -side * edge, -rng.uniform(3.5, 6), 16.0, riders)
    for number, (place, way) in enumerate(((-1, 1), (-1, -1), (1, 1), (1, -1))):
        band = street.half_width + street.verge + (0.35 if way > 0 else 0.72) * street.sidewalk
        yield Row(60 + number, "walker", place * band, way * rng.uniform(1.1, 1.6), 7.0, min(0.16 * street.crowd, 0.8))


def _mover(
    street: Street, row: Row, s: float, time: float, rng: np.random.Generator, ahead: float, driving: bool
) -> Iterator[Drawable]:
    d = row.d + rng.normal(0, 0.15)
    heading = float(np.arctan(street.slope(s))) + (0.0 if row.speed > 0 else np.pi)
    if row.what == "walker":
        d += rng.uniform(-0.25, 0.25) * street.sidewalk
        kind, offset = int(rng.integers(PEOPLE)), int(rng.integers(PHASES))
        height, facing = float(rng.normal(1.72, 0.09)), int(rng.choice([0, 0, 1]) * rng.choice([-1, 1]))
        if ahead > 3:
            yield Person(street.place(s, d), kind, int(time * 9) + offset, facing, height)
    elif row.what == "cycle":
        motor = bool(rng.random() < 0.28)
        kind, view = int(rng.integers(CYCLES)), 0 if row.speed > 0 else 2
        if rng.random() < 0.25 and not driving:
            view = int(np.sign(row.speed)) * (1 if row.d < 0 else -1)
        if ahead > 4:
            yield Cycle(street.place(s, d), kind, motor, True, view, int(time * 7) + kind)
    elif row.what == "tram":
        if ahead > 16:
            yield BigVehicle(street.place(s, row.d), heading, "tram", int(rng.integers(BIG_VEHICLES)))
    else:
        yield from _vehicle(street, row, s, d, heading, rng, ahead)


def _vehicle(
    street: Street, row: Row, s: float, d: float, heading: float, rng: np.random.Generator, ahead: float
) -> Iterator[Drawable]:
    kind, color, big = int(rng.integers(CARS)), int(rng.integers(240)), rng.random()
    room = 11.0 if row.speed > 0 else -8.0
    if big < 0.14:
        family = "bus" if big < 0.09 else "truck"
        if ahead > room + 6:
            yield BigVehicle(street.place(s, row.d), heading, family, int(rng.integers(BIG_VEHICLES)))
    elif ahead > room:
        yield Car(street.place(s, d), heading, kind, color, False, bool(rng.random() < 0.25))


def _crossers(street: Street, time: float, camera_s: float, driving: bool) -> Iterator[Drawable]:
    """Yield people who cross the road beside the junctions, to and fro."""
    first = int(np.floor(camera_s / street.block))
    kerb = street.half_width + 1.0
    middle, reach = (-street.side * kerb / 2, kerb / 2) if driving else (0.0, kerb)
    for index in range(first, first + 3):
        half = street.crossing(index)
        rng = street.rng(21, index)
        for _ in range(rng.poisson(0.9 * street.crowd) if half else 0):
            s = index * street.block - half - rng.uniform(1.4, 4.0)
            phase = rng.uniform(0, 4 * reach) + 1.3 * time
            way = 1 if phase % (4 * reach) < 2 * reach else -1
            d = middle + reach - abs(phase % (4 * reach) - 2 * reach)
            kind, height = int(rng.integers(PEOPLE)), float(rng.normal(1.72, 0.09))
            if s - camera_s > 4:
                yield Person(street.place(s, d), kind, int(time * 9) + kind, way, height)
