"""Walls, fences and hedges along the sidewalk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import FENCE, TERRAIN, VEGETATION, VOID, WALL
from querydiff_core.street_scenes.things import LongThing
from querydiff_core.street_scenes.things.foliage import hedge_texture
from querydiff_core.street_scenes.things.wall_textures import (
    bank_texture,
    concrete_texture,
    fence_texture,
    wall_texture,
)
from querydiff_core.street_scenes.weather import Weather

RAILINGS = 4
"""Every RAILINGS-th fence is an iron railing."""
RAIL = 3
"""The first of the fences that are crash barriers; every fourth follows."""


@dataclass(frozen=True)
class Barrier(LongThing):
    """A straight piece of `kind` from `near` to `far_end` `(3,)`, `base` to `top` high; lengths in metres.

    `kind`: wall, concrete, fence, hedge; plinth, the low wall below a railing, which annotators give to the fence;
    rail, a crash barrier, which Cityscapes leaves unlabelled.
    """

    kind: str
    index: int
    base: float
    top: float

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw it."""
        along = self.far_end - self.near
        length = float(np.linalg.norm(along))
        side = np.sign(self.near[0] - canvas.camera.position[0])
        light = weather.brightness * float(weather.shade(np.array([-side, 0.0, 0.0])))
        rise = self.top - self.base
        if self.kind in ("wall", "plinth"):
            label = WALL if self.kind == "wall" else FENCE
            texture, repeat = wall_texture(self.index), (max(length / 4, 0.2), max(rise / 2, 0.3))
        elif self.kind == "concrete":
            texture, label, repeat = concrete_texture(self.index % 24), WALL, (max(length / 6, 0.2), 1.0)
        elif self.kind == "rail":
            texture, label, repeat = fence_texture(RAIL + 4 * (self.index % 8)), VOID, (max(length / 2, 0.2), 1.0)
        elif self.kind == "fence":
            label = VOID if self.index % 4 == RAIL else FENCE
            texture, repeat = fence_texture(self.index), (max(length / 2, 0.2), 1.0)
        else:
            texture, label, repeat = hedge_texture(self.index % 24), VEGETATION, (max(length / 3, 0.2), 1.0)
        canvas.quad(self.near + self.base * UP, along, rise * UP, texture, label, light, repeat)


@dataclass(frozen=True)
class Bank(LongThing):
    """A slope of grass, soil or rock on `side` of the road, rising by `rise` over `reach` metres."""

    side: int
    reach: float
    rise: float
    index: int

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw it."""
        along = self.far_end - self.near
        slope = np.array([self.side * self.reach, self.rise, 0.0])
        normal = np.array([-self.side * self.rise, self.reach, 0.0]) / np.hypot(self.rise, self.reach)
        light = weather.brightness * float(weather.shade(normal))
        repeat = (max(float(np.linalg.norm(along)) / 6, 0.2), max(float(np.linalg.norm(slope)) / 6, 0.3))
        canvas.quad(self.near, along, slope, bank_texture(self.index), TERRAIN, light, repeat)
