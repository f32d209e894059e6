"""What moves: endless rows of vehicles, cyclists and walkers, each row at one speed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.big_vehicles import BIG_VEHICLES, TRAFFIC, BigVehicle, body_size
from querydiff_core.street_scenes.things.car_shapes import CARS
from querydiff_core.street_scenes.things.cycles import CYCLES, Cycle
from querydiff_core.street_scenes.things.people import PEOPLE, PHASES, Person
from querydiff_core.street_scenes.things.vehicles import Car
from querydiff_core.street_scenes.world.street import Street

VISIBLE = (-6.0, 150.0)
"""From and to how many metres before the camera moving things are drawn."""


@dataclass(frozen=True)
class Row:
    """An endless row of slots, `spacing` metres apart, moving at `speed` (m/s, signed), `d` from the centre line.

    `share` of the slots are taken, each of them anywhere in the middle `jitter` of its slot. `heavy`: the share of
    vehicles that are no cars.
    """

    purpose: int
    what: str
    d: float
    speed: float
    spacing: float
    share: float
    jitter: float = 0.8
    heavy: float = 0.0


def traffic(street: Street, time: float, camera_s: float, ego_speed: float, driving: bool) -> Iterator[Drawable]:
    """Yield what moves around a camera at `camera_s` at `time` seconds; own-lane traffic keeps the camera's speed.

    `driving`: people cross only the far half of the road, since the camera does not stop for them, and cyclists keep
    their direction, where single scenes also show some that turn.
    """
    rows = _dense_rows(street, ego_speed) if "traffic" in street.groups else _rows(street, ego_speed)
    for row in (*rows, *(_busy_sidewalks(street) if "people" in street.groups else ())):
        first = int(np.floor((camera_s + VISIBLE[0] - row.speed * time) / row.spacing)) - 1
        last = int(np.ceil((camera_s + VISIBLE[1] - row.speed * time) / row.spacing)) + 1
        for slot in range(first, last):
            if street.chance(row.purpose, slot) >= row.share:
                continue
            place = slot + 0.5 - row.jitter / 2 + row.jitter * street.chance(row.purpose + 100, slot)
            s = place * row.spacing + row.speed * time
            if VISIBLE[0] < s - camera_s < VISIBLE[1]:
                rng = street.rng(row.purpose, slot)
                yield from _mover(street, row, s, time, rng, s - camera_s, driving)
    yield from _crossers(street, time, camera_s, driving)


def _rows(street: Street, ego_speed: float) -> Iterator[Row]:
    rng = street.rng(20)
    side = street.side
    busy = rng.uniform(0.12, 0.6)
    lanes = max(street.lanes // 2, 1)
    for number in range(lanes):
        offset = street.lane(number)
        yield Row(30 + number, "vehicle", side * offset, ego_speed, 19.0, busy)
        if street.lanes > 1 and not (street.tram and number == 0):
            yield Row(40 + number, "vehicle", -side * offset, -rng.uniform(6, 12), 21.0, busy)
    if street.tram and street.lanes > 1:
        yield Row(45, "tram", -side * street.lane(0), -7.0, 70.0, 0.75)
    if street.fast:
        return
    edge = street.half_width - (2.6 if street.parking else 0.75)
    riders = rng.uniform(0.0, 0.3)
    yield Row(50, "cycle", side * edge, rng.uniform(3.5, 6), 13.0, riders)
    yield Row(51, "cycle", -side * edge, -rng.uniform(3.5, 6), 16.0, riders)
    for number, (place, way) in enumerate(((-1, 1), (-1, -1), (1, 1), (1, -1))):
        band = street.half_width + street.verge + (0.35 if way > 0 else 0.72) * street.sidewalk
        yield Row(60 + number, "walker", place * band, way * rng.uniform(1.1, 1.6), 7.0, min(0.16 * street.crowd, 0.8))


def _dense_rows(street: Street, ego_speed: float) -> Iterator[Row]:
    """Yield the rows of the third version: each lane from empty to a queue, lorries in some, motorcycles between."""
    rng, side = street.rng(22), street.side
    queue = 0.8 if rng.random() < 0.35 else 0.1
    heavy = rng.choice([0.06, 0.18, 0.5], p=[0.4, 0.4, 0.2])
    for number in range(max(street.lanes // 2, 1)):
        for way in (1, -1):
            if way < 0 and (street.lanes == 1 or (street.tram and number == 0)):
                continue
            jam = rng.random() < queue * (1.0 if way > 0 else 0.5)
            lorries = float(heavy * rng.uniform(0.5, 1.5))
            spacing = rng.uniform(7.0, 9.5) if jam else rng.uniform(14, 24) if lorries < 0.3 else rng.uniform(20, 28)
            share, jitter = (0.93, 0.12) if jam else (rng.uniform(0.15, 0.85), 0.6)
            speed = ego_speed if way > 0 else -rng.uniform(6, 12)
            purpose = 30 + number if way > 0 else 40 + number
            yield Row(purpose, "vehicle", way * side * street.lane(number), speed, spacing, share, jitter, lorries)
    if street.tram and street.lanes > 1:
        yield Row(45, "tram", -side * street.lane(0), -7.0, 50.0, 0.8)
        if rng.random() < 0.5:
            yield Row(46, "tram", side * street.lane(0), ego_speed, 90.0, 0.5)
    if street.fast:
        return
    edge = street.half_width - (2.6 if street.parking else 0.75)
    riders = rng.choice([0.04, 0.15, 0.4]), rng.choice([0.04, 0.15, 0.5])  # some towns cycle, some ride motorcycles
    for way in (1, -1):
        for number, what in enumerate(("cycle", "motorcycle")):
            d = edge if what == "cycle" else max(edge - rng.uniform(0, 2), 0.8)
            speed = ego_speed if rng.random() < 0.5 else rng.uniform(3.5, 7)
            spacing, purpose = rng.uniform(9, 16), 50 + 2 * number + (way < 0)
            yield Row(purpose, what, way * side * d, way * speed, spacing, riders[number])


def _busy_sidewalks(street: Street) -> Iterator[Row]:
    """Yield further rows of walkers on both sidewalks in streets with many people."""
    rng = street.rng(23)
    if street.fast or rng.random() < 0.5:
        return
    for number, side in enumerate((-1, 1, -1, 1)):
        band = street.half_width + street.verge + rng.uniform(0.15, 0.9) * street.sidewalk
        speed = rng.choice([-1, 1]) * rng.uniform(1.0, 1.6)
        yield Row(70 + number, "walker", side * band, speed, rng.uniform(3, 8), min(0.3 * street.crowd, 0.9))


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
    elif row.what in ("cycle", "motorcycle"):
        motor = bool(rng.random() < 0.28) or row.what == "motorcycle"
        kind, view = int(rng.integers(CYCLES)), 0 if row.speed > 0 else 2
        if rng.random() < 0.25 and not driving:
            view = int(np.sign(row.speed)) * (1 if row.d < 0 else -1)
        if "people" in street.groups and kind % 2:
            kind += CYCLES
        if ahead > 4:
            yield Cycle(street.place(s, d), kind, motor, True, view, int(time * 7) + kind)
    elif row.what == "tram":
        if ahead > (16 if row.speed < 0 else 24):
            yield BigVehicle(street.place(s, row.d), heading, "tram", int(rng.integers(BIG_VEHICLES)))
    else:
        yield from _vehicle(street, row, s, d, heading, rng, ahead)


def _vehicle(
    street: Street, row: Row, s: float, d: float, heading: float, rng: np.random.Generator, ahead: float
) -> Iterator[Drawable]:
    if "traffic" in street.groups:
        yield from _any_vehicle(street, row, s, d, heading, rng, ahead)
        return
    kind, color, big = int(rng.integers(CARS)), int(rng.integers(240)), rng.random()
    room = 11.0 if row.speed > 0 else -8.0
    if big < 0.14:
        family = "bus" if big < 0.09 else "truck"
        if ahead > room + 6:
            yield BigVehicle(street.place(s, row.d), heading, family, int(rng.integers(BIG_VEHICLES)))
    elif ahead > room:
        yield Car(street.place(s, d), heading, kind, color, False, bool(rng.random() < 0.25))


def _any_vehicle(
    street: Street, row: Row, s: float, d: float, heading: float, rng: np.random.Generator, ahead: float
) -> Iterator[Drawable]:
    """Yield a car or, for the row's heavy share, a vehicle of another kind that fits into its slot."""
    kind, color, braking = int(rng.integers(CARS)), int(rng.integers(240)), bool(rng.random() < 0.35)
    room = 6.0 if row.speed > 0 else -8.0
    families = [family for family in TRAFFIC if body_size(family, 0)[2] < 0.9 * row.spacing]
    if families and rng.random() < row.heavy:
        family, kind = str(rng.choice(families)), int(rng.integers(2 * BIG_VEHICLES))
        if ahead > room + 0.5 * body_size(family, kind)[2] + 1:
            yield BigVehicle(street.place(s, row.d), heading, family, kind)
    elif rng.random() < 0.04:
        view = 0 if row.speed > 0 else 2
        yield Cycle(street.place(max(s, s - ahead + 4.5), d), int(rng.integers(2 * CYCLES)), True, True, view, 0)
    elif ahead > room:
        yield Car(street.place(s, d), heading, kind, color, False, braking)


def _crossers(street: Street, time: float, camera_s: float, driving: bool) -> Iterator[Drawable]:
    """Yield people who cross the road beside the junctions, to and fro."""
    first = int(np.floor(camera_s / street.block))
    kerb = street.half_width + 1.0
    middle, reach = (-street.side * kerb / 2, kerb / 2) if driving else (0.0, kerb)
    for index in range(first, first + 3):
        half = street.crossing(index)
        rng = street.rng(21, index)
        crowd = street.crowd * (2.5 if "people" in street.groups else 1.0)
        for _ in range(rng.poisson(0.9 * crowd) if half else 0):
            s = index * street.block - half - rng.uniform(1.4, 4.0)
            phase = rng.uniform(0, 4 * reach) + 1.3 * time
            way = 1 if phase % (4 * reach) < 2 * reach else -1
            d = middle + reach - abs(phase % (4 * reach) - 2 * reach)
            kind, height = int(rng.integers(PEOPLE)), float(rng.normal(1.72, 0.09))
            if s - camera_s > 4:
                yield Person(street.place(s, d), kind, int(time * 9) + kind, way, height)
