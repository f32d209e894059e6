"""People on foot: a library of painted figures in the phases of a step."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import PERSON
from querydiff_core.street_scenes.image.sprite import Brush, Sprite
from querydiff_core.street_scenes.weather import Weather

PEOPLE = 80
PHASES = 6
SKINS = np.array([[224, 180, 152], [198, 148, 118], [150, 104, 78], [92, 62, 48], [236, 200, 176]])
HAIRS = np.array([[32, 26, 22], [70, 48, 32], [120, 88, 52], [60, 58, 58], [176, 168, 160]])


@dataclass(frozen=True)
class Outfit:
    """The colours of one person, RGB, and the build."""

    skin: np.ndarray
    hair: np.ndarray
    jacket: np.ndarray
    trousers: np.ndarray
    shoes: np.ndarray
    broad: float
    hooded: bool


def draw_outfit(rng: np.random.Generator) -> Outfit:
    """Draw clothes: mostly dark and dull, sometimes bright."""
    return Outfit(
        skin=SKINS[rng.integers(len(SKINS))] * rng.uniform(0.6, 1.05),
        hair=HAIRS[rng.integers(len(HAIRS))] * rng.uniform(0.6, 1.2),
        jacket=draw_cloth(rng, 0.14),
        trousers=draw_cloth(rng, 0.05),
        shoes=rng.uniform(15, 70, 3) if rng.random() < 0.8 else np.array([190.0, 190, 186]),
        broad=float(rng.uniform(0.85, 1.2)),
        hooded=bool(rng.random() < 0.15),
    )


def draw_cloth(rng: np.random.Generator, bright_share: float) -> np.ndarray:
    """Draw the colour of a piece of clothing."""
    if rng.random() < bright_share:
        return rng.uniform(20, 235, 3)
    grey = rng.uniform(14, 90) if rng.random() < 0.8 else rng.uniform(90, 190)
    return grey * (1 + rng.uniform(-0.2, 0.2, 3) + [-0.04, 0.0, 0.08])


@dataclass(frozen=True)
class Person:
    """A person of `kind` (0 to PEOPLE - 1) at `foot` `(3,)`; `phase` of a step, `facing` 1 right, -1 left, 0 along."""

    foot: np.ndarray
    kind: int
    phase: int
    facing: int
    height: float

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the person facing the camera plane."""
        sprite = person_sprite(self.kind, self.phase % PHASES, self.facing)
        width = self.height * sprite.alpha.shape[1] / sprite.alpha.shape[0]
        canvas.sprite(self.foot, (width, self.height), sprite, weather.brightness)


@cache
def person_sprite(kind: int, phase: int, facing: int) -> Sprite:
    """Return person `kind` in `phase` (0 to PHASES - 1) of a step, seen from the side or along the street."""
    rng = np.random.default_rng((59, kind))
    outfit, back = draw_outfit(rng), bool(rng.random() < 0.5)
    skirt, bag, umbrella = rng.random() < 0.2, rng.random() < 0.35, rng.random() < 0.06
    brush = Brush(1.1, 1.84, 60.0)
    swing = np.sin(2 * np.pi * phase / PHASES)
    if facing:
        _side_view(brush, outfit, swing, facing)
    else:
        _front_view(brush, outfit, swing)
    if skirt:
        brush.polygon([(-0.17, 1.0), (0.17, 1.0), (0.25, 0.48), (-0.25, 0.48)], outfit.jacket * 0.9, PERSON)
    if bag:
        side = float(rng.choice([-1, 1]))
        brush.ellipse((0.26 * side, 0.85), (0.10, 0.17), draw_cloth(rng, 0.4), PERSON)
    _head(brush, outfit, back, facing)
    if umbrella:
        brush.line([(0.1, 1.0), (0.1, 1.75)], 0.02, (40, 40, 40), PERSON)
        brush.polygon([(-0.45, 1.6), (-0.2, 1.8), (0.2, 1.83), (0.5, 1.6)], draw_cloth(rng, 0.5), PERSON)
    return brush.finish(rng, folds=0.16)


def _front_view(brush: Brush, outfit: Outfit, swing: float) -> None:
    wide = outfit.broad
    for side in (-1, 1):
        lift = 0.06 * max(side * swing, 0)
        knee, ankle = (0.1 * side * wide, 0.48 + lift), (0.1 * side * wide, 0.07 + 1.4 * lift)
        brush.line([(0.09 * side * wide, 0.9), knee, ankle], 0.155 * wide, outfit.trousers, PERSON)
        brush.ellipse((ankle[0] + 0.01 * side, ankle[1] - 0.02), (0.06, 0.05), outfit.shoes, PERSON)
        elbow, hand = (0.29 * side * wide, 1.12), (0.28 * side * wide, 0.84 + 0.1 * side * swing)
        brush.line([(0.2 * side * wide, 1.42), elbow, hand], 0.11 * wide, outfit.jacket * 0.86, PERSON)
        brush.ellipse(hand, (0.045, 0.055), outfit.skin, PERSON)
    torso = [
        (-0.21, 1.46),
        (-0.1, 1.52),
        (0.1, 1.52),
        (0.21, 1.46),
        (0.19, 1.1),
        (0.2, 0.82),
        (-0.2, 0.82),
        (-0.19, 1.1),
    ]
    brush.polygon([(x * wide, y) for x, y in torso], outfit.jacket, PERSON)


def _side_view(brush: Brush, outfit: Outfit, swing: float, facing: int) -> None:
    wide = outfit.broad
    for side, tone in ((-1, 0.75), (1, 1.0)):
        reach = 0.26 * swing * side * facing
        bend = 0.06 * facing
        ankle = (reach * 1.15 - (0.08 * facing if side * swing < 0 else 0), 0.08 + (0.08 if side * swing < 0 else 0))
        brush.line([(0, 0.92), (reach * 0.5 + bend, 0.5), ankle], 0.16 * wide, outfit.trousers * tone, PERSON)
        brush.ellipse((ankle[0] + 0.05 * facing, ankle[1] - 0.03), (0.12, 0.05), outfit.shoes, PERSON)
    torso = [(-0.11, 1.5), (0.1, 1.5), (0.16, 1.25), (0.13, 0.82), (-0.13, 0.82), (-0.15, 1.25)]
    brush.polygon([(x * wide, y) for x, y in torso], outfit.jacket, PERSON)
    hand = (-0.3 * swing * facing + 0.05 * facing, 0.86)
    brush.line([(0, 1.42), (-0.13 * swing * facing, 1.12), hand], 0.11 * wide, outfit.jacket * 0.8, PERSON)
    brush.ellipse(hand, (0.045, 0.05), outfit.skin, PERSON)


def _head(brush: Brush, outfit: Outfit, back: bool, facing: int) -> None:
    brush.polygon([(-0.06, 1.58), (0.06, 1.58), (0.07, 1.48), (-0.07, 1.48)], outfit.skin * 0.8, PERSON)
    cover = outfit.jacket * 1.05 if outfit.hooded else outfit.hair
    brush.ellipse((0, 1.69), (0.105, 0.135), cover, PERSON)
    if facing:
        brush.ellipse((0.035 * facing, 1.665), (0.075, 0.1), outfit.skin, PERSON)
    elif not back:
        brush.ellipse((0, 1.66), (0.08, 0.105), outfit.skin, PERSON)
