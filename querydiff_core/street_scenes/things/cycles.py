"""Bicycles and motorcycles, parked or ridden."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache

import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import BICYCLE, MOTORCYCLE, RIDER
from querydiff_core.street_scenes.image.sprite import Brush, Points, Sprite
from querydiff_core.street_scenes.things.people import Outfit, draw_cloth, draw_outfit
from querydiff_core.street_scenes.weather import Weather

CYCLES = 48
"""From CYCLES to twice as many: scooters, passengers, boxes, bags, bright jackets."""
PHASES = 4


@dataclass(frozen=True)
class Cycle:
    """A bicycle or motorcycle of `kind` (0 to 2 CYCLES - 1) at `foot` `(3,)`.

    `view`: 1 or -1 seen from its side heading right or left, 0 from behind, 2 from the front. `ridden`: with a rider.
    """

    foot: np.ndarray
    kind: int
    motor: bool
    ridden: bool
    view: int
    phase: int

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw it facing the camera plane."""
        phase = self.phase % PHASES if self.ridden and not self.motor else 0
        sprite = cycle_sprite(self.kind, self.motor, self.ridden, self.view, phase)
        height = 1.9 if self.ridden else 1.2
        width = height * sprite.alpha.shape[1] / sprite.alpha.shape[0]
        canvas.sprite(self.foot, (width, height), sprite, weather.brightness)


@cache
def cycle_sprite(kind: int, motor: bool, ridden: bool, view: int, phase: int) -> Sprite:
    """Return the picture of a cycle of `kind`."""
    rng = np.random.default_rng((61, kind, motor))
    outfit = draw_outfit(rng)
    if rng.random() < 0.15:  # high-visibility yellow
        outfit = replace(outfit, jacket=np.array([196.0, 220, 40]) * rng.uniform(0.7, 1.1))
    if kind >= CYCLES and rng.random() < 0.5:
        outfit = replace(outfit, jacket=rng.uniform(20, 235, 3), trousers=draw_cloth(rng, 0.3))
    load = str(rng.choice(["", "", "passenger", "box"])) if kind >= CYCLES else ""
    scooter = motor and kind >= CYCLES and kind % 3 > 0
    lamp = rng.random() < 0.4
    paint = rng.uniform(15, 90, 3) if rng.random() < 0.6 else rng.uniform(40, 230, 3)
    helmet = rng.random() < 0.5 or motor
    side = view in (1, -1)
    brush = Brush(2.1 if side else 0.9, 1.9 if ridden else 1.2, 56.0)
    turn = 2 * np.pi * phase / PHASES
    if side:
        if load == "passenger" and ridden:
            _passenger(brush, draw_outfit(rng), view, motor)
        (_scooter_side if scooter else _motorcycle_side if motor else _bicycle_side)(brush, paint, view)
        if load == "box":
            _box(brush, rng, view, motor)
        if ridden:
            _rider_side(brush, outfit, helmet, view, turn, motor)
    else:
        (_scooter_end if scooter else _motorcycle_end if motor else _bicycle_end)(brush, paint, view == 2, lamp)
        if ridden:
            _rider_end(brush, outfit, helmet, view == 2, turn)
        if load == "box" and view == 0:
            _box(brush, rng, 0, motor)
    return brush.finish(rng, folds=0.14, close=0.3 if side else 0.12)


def _bicycle_side(brush: Brush, paint: np.ndarray, way: int) -> None:
    for x in (-0.52, 0.52):
        brush.ellipse((x, 0.35), (0.34, 0.34), (24, 24, 26), BICYCLE, 0.035)
        for angle in np.linspace(0, np.pi, 5)[:-1]:
            spoke = 0.32 * np.array([np.cos(angle), np.sin(angle)])
            brush.line(
                [(x - spoke[0], 0.35 - spoke[1]), (x + spoke[0], 0.35 + spoke[1])], 0.008, (120, 120, 122), BICYCLE
            )
    seat, head, pedal = (-0.2 * way, 0.85), (0.38 * way, 0.84), (-0.04 * way, 0.32)
    for line in ([seat, head], [head, pedal], [seat, pedal], [(-0.52 * way, 0.35), pedal], [(-0.52 * way, 0.35), seat]):
        brush.line(line, 0.04, paint, BICYCLE)
    brush.line([(0.52 * way, 0.35), head, (0.36 * way, 1.0), (0.48 * way, 1.02)], 0.035, (40, 40, 42), BICYCLE)
    brush.line([seat, (-0.22 * way, 0.95)], 0.03, (60, 60, 60), BICYCLE)
    brush.line([(-0.33 * way, 0.96), (-0.1 * way, 0.97)], 0.07, (20, 20, 20), BICYCLE)


def _bicycle_end(brush: Brush, paint: np.ndarray, front: bool, lamp: bool) -> None:
    brush.ellipse((0, 0.35), (0.035, 0.35), (24, 24, 26), BICYCLE)
    brush.line([(0, 0.3), (0, 0.95)], 0.05, paint, BICYCLE)
    brush.line([(-0.3, 1.0), (0.3, 1.0)], 0.04, (40, 40, 42), BICYCLE)
    brush.line([(-0.1, 0.3), (0.1, 0.3)], 0.04, (30, 30, 30), BICYCLE)
    shine = (255,) if lamp and front else (200,) if lamp else ()  # without, a reflector
    brush.ellipse((0, 0.72), (0.04, 0.04), ((235, 235, 220) if front else (150, 20, 20)) + shine, BICYCLE)


def _motorcycle_side(brush: Brush, paint: np.ndarray, way: int) -> None:
    for x in (-0.66, 0.66):
        brush.ellipse((x, 0.32), (0.32, 0.32), (22, 22, 24), MOTORCYCLE)
        brush.ellipse((x, 0.32), (0.17, 0.17), (120, 122, 126), MOTORCYCLE)
    brush.polygon(
        [(-0.6 * way, 0.78), (0.3 * way, 0.95), (0.45 * way, 0.6), (0.1 * way, 0.25), (-0.4 * way, 0.3)],
        (58, 60, 64),
        MOTORCYCLE,
    )
    brush.polygon([(-0.05 * way, 0.9), (0.38 * way, 1.0), (0.5 * way, 0.78), (0.05 * way, 0.68)], paint, MOTORCYCLE)
    brush.polygon(
        [(-0.85 * way, 0.85), (-0.1 * way, 0.92), (-0.1 * way, 0.78), (-0.6 * way, 0.7)], (20, 20, 22), MOTORCYCLE
    )
    brush.line([(0.66 * way, 0.32), (0.44 * way, 0.98), (0.3 * way, 1.08)], 0.07, (110, 112, 116), MOTORCYCLE)
    brush.ellipse((0.55 * way, 0.9), (0.09, 0.1), (230, 230, 225, 200), MOTORCYCLE)
    brush.line([(-0.2 * way, 0.28), (-0.85 * way, 0.36)], 0.09, (140, 140, 142), MOTORCYCLE)


def _motorcycle_end(brush: Brush, paint: np.ndarray, front: bool, lamp: bool) -> None:
    brush.ellipse((0, 0.34), (0.09, 0.34), (22, 22, 24), MOTORCYCLE)
    brush.ellipse((0, 0.72), (0.23, 0.26), paint, MOTORCYCLE)
    brush.line([(-0.38, 1.02), (0, 0.92), (0.38, 1.02)], 0.05, (50, 50, 52), MOTORCYCLE)
    shine = (255,) if lamp or front else ()
    brush.ellipse((0, 0.8), (0.09, 0.08), ((255, 252, 235) if front else (180, 20, 24)) + shine, MOTORCYCLE)
    brush.polygon([(-0.1, 0.62), (0.1, 0.62), (0.1, 0.5), (-0.1, 0.5)], (210, 210, 190), MOTORCYCLE)
    for x in (-0.36, 0.36):
        brush.ellipse((x, 1.12), (0.06, 0.045), (30, 30, 32), MOTORCYCLE)


def _scooter_side(brush: Brush, paint: np.ndarray, way: int) -> None:
    for x in (-0.55, 0.58):
        brush.ellipse((x, 0.24), (0.23, 0.23), (22, 22, 24), MOTORCYCLE)
        brush.ellipse((x, 0.24), (0.11, 0.11), (130, 132, 134), MOTORCYCLE)
    tail = [(-0.85, 0.72), (-0.2, 0.74), (-0.12, 0.32), (-0.3, 0.24), (-0.62, 0.42)]
    seat = [(-0.8, 0.84), (-0.15, 0.8), (-0.2, 0.7), (-0.75, 0.72)]
    apron = [(0.36, 0.98), (0.5, 0.98), (0.5, 0.4), (0.4, 0.26), (-0.15, 0.24), (-0.15, 0.34), (0.28, 0.36)]
    for points, color in ((tail, paint), (apron, paint), (seat, (24, 24, 26))):
        brush.polygon([(x * way, y) for x, y in points], color, MOTORCYCLE)
    brush.line([(0.58 * way, 0.3), (0.42 * way, 0.98), (0.32 * way, 1.06)], 0.06, (60, 60, 62), MOTORCYCLE)
    brush.ellipse((0.5 * way, 0.88), (0.07, 0.08), (232, 232, 226, 200), MOTORCYCLE)


def _scooter_end(brush: Brush, paint: np.ndarray, front: bool, lamp: bool) -> None:
    brush.ellipse((0, 0.26), (0.08, 0.26), (22, 22, 24), MOTORCYCLE)
    shape = [(-0.2, 0.36), (0.2, 0.36), (0.25, 0.75), (0.14, 0.98), (-0.14, 0.98), (-0.25, 0.75)]
    brush.polygon(shape, paint, MOTORCYCLE)
    brush.line([(-0.34, 1.03), (0.34, 1.03)], 0.06, (50, 50, 52), MOTORCYCLE)
    shine = (255,) if lamp or front else ()
    brush.ellipse((0, 0.82), (0.08, 0.06), ((255, 252, 235) if front else (185, 20, 24)) + shine, MOTORCYCLE)
    brush.polygon([(-0.1, 0.62), (0.1, 0.62), (0.1, 0.5), (-0.1, 0.5)], (214, 200, 120), MOTORCYCLE)
    for x in (-0.32, 0.32):
        brush.ellipse((x, 1.14), (0.06, 0.045), (30, 30, 32), MOTORCYCLE)


def _box(brush: Brush, rng: np.random.Generator, way: int, motor: bool) -> None:
    """Draw a delivery box or bags behind the seat."""
    label, color = (MOTORCYCLE if motor else BICYCLE), rng.uniform(20, 230, 3)
    left, right = (-0.24, 0.24) if way == 0 else sorted((-0.82 * way, -0.36 * way))
    low, high = (0.86, 1.3) if motor else (0.42, 0.78)
    brush.polygon([(left, low), (right, low), (right, high), (left, high)], color, label)


def _passenger(brush: Brush, outfit: Outfit, way: int, motor: bool) -> None:
    """Draw a second person behind the rider."""
    hip = (-0.52 * way, 0.98)
    brush.line([hip, (-0.2 * way, 0.86), (-0.3 * way, 0.36)], 0.15, outfit.trousers, RIDER)
    brush.line([hip, (-0.44 * way, 1.26), (-0.38 * way, 1.44)], 0.27, outfit.jacket, RIDER)
    _rider_head(brush, outfit, motor and outfit.hooded, (-0.34 * way, 1.66), 0.04 * way)


def _rider_side(brush: Brush, outfit: Outfit, helmet: bool, way: int, turn: float, motor: bool) -> None:
    hip, shoulder = (-0.22 * way, 0.98), (0.08 * way, 1.46)
    for offset, tone in ((np.pi, 0.72), (0.0, 1.0)):
        foot = (-0.04 * way + 0.17 * np.cos(turn + offset), 0.32 + 0.17 * np.sin(turn + offset))
        if motor:
            foot = (0.0, 0.3)
        knee = ((hip[0] + foot[0]) / 2 + 0.24 * way, (hip[1] + foot[1]) / 2 + 0.1)
        brush.line([hip, knee, foot], 0.15, outfit.trousers * tone, RIDER)
        brush.line([foot, (foot[0] + 0.12 * way, foot[1] - 0.02)], 0.08, outfit.shoes, RIDER)
    wide = 0.3 * outfit.broad
    brush.line([hip, (-0.1 * way, 1.24), shoulder], wide, outfit.jacket, RIDER)
    hand = (0.42 * way, 1.04)
    brush.line([shoulder, (0.22 * way, 1.18), hand], 0.1, outfit.jacket * 0.82, RIDER)
    brush.ellipse(hand, (0.045, 0.045), outfit.skin, RIDER)
    _rider_head(brush, outfit, helmet, (0.17 * way, 1.7), 0.04 * way)


def _rider_end(brush: Brush, outfit: Outfit, helmet: bool, front: bool, turn: float) -> None:
    for side in (-1, 1):
        lift = 0.14 * np.sin(turn) * side
        knee, foot = (0.17 * side, 0.68 + lift), (0.13 * side, 0.3 + lift)
        brush.line([(0.11 * side, 0.95), knee, foot], 0.15, outfit.trousers, RIDER)
        brush.ellipse((foot[0], foot[1] - 0.03), (0.06, 0.06), outfit.shoes, RIDER)
        elbow = (0.33 * side * outfit.broad, 1.22)
        brush.line([(0.2 * side, 1.46), elbow, (0.27 * side, 1.03)], 0.11, outfit.jacket * 0.85, RIDER)
    torso = [
        (-0.22, 1.46),
        (-0.1, 1.54),
        (0.1, 1.54),
        (0.22, 1.46),
        (0.2, 1.1),
        (0.19, 0.88),
        (-0.19, 0.88),
        (-0.2, 1.1),
    ]
    _torso(brush, [(x * outfit.broad, y) for x, y in torso], outfit)
    _rider_head(brush, outfit, helmet, (0.0, 1.7), 0.0 if front else None)


def _torso(brush: Brush, points: Points, outfit: Outfit) -> None:
    brush.polygon(points, outfit.jacket, RIDER)
    if outfit.hooded:  # a reflective stripe or a rucksack
        brush.ellipse((0, 1.25), (0.15, 0.2), outfit.jacket * 0.5 + 40, RIDER)


def _rider_head(brush: Brush, outfit: Outfit, helmet: bool, centre: tuple[float, float], face: float | None) -> None:
    brush.line([(centre[0] * 0.7, 1.52), centre], 0.1, outfit.skin * 0.85, RIDER)
    brush.ellipse(centre, (0.11, 0.13), outfit.hair, RIDER)
    if face is not None:
        brush.ellipse((centre[0] + face, centre[1] - 0.03), (0.08, 0.09), outfit.skin, RIDER)
    if helmet:
        brush.ellipse((centre[0], centre[1] + 0.06), (0.13, 0.09), outfit.shoes * 2.2, RIDER)
