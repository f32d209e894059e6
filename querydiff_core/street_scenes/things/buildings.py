"""Buildings: a textured front, an end wall and a roof, at their place beside the road."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import BUILDING
from querydiff_core.street_scenes.image.sprite import Sprite
from querydiff_core.street_scenes.things import LongThing
from querydiff_core.street_scenes.things.facade_textures import facade
from querydiff_core.street_scenes.things.wall_textures import end_wall_texture, roof_texture
from querydiff_core.street_scenes.weather import Weather


@dataclass(frozen=True)
class Building(LongThing):
    """A building whose front runs from `near` to `far_end` (world points `(3,)`), on `side` (-1 left, +1 right).

    Its end wall is `hidden_below` a height by its neighbour. `depth`: away from the road; `roof`: its rise, 0 if flat.
    `stack`: how many times its front stands upon itself, as in a tower.
    """

    side: int
    height: float
    style: str
    index: int
    tint: tuple[float, float, float]
    hidden_below: float
    roof: float
    depth: float
    stack: int = 1

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the end wall, the roof and the front."""
        front = facade(self.style, self.index, weather.night)
        along = self.far_end - self.near
        outward = np.array([self.side, 0.0, 0.0])
        shade = weather.brightness * np.array(self.tint)
        if self.hidden_below < self.height:
            self._draw_end(canvas, front, outward, shade * float(weather.shade(np.array([0.0, 0.0, -1.0]))))
        if self.roof > 0:
            self._draw_roof(canvas, along, outward, weather)
        light = shade * float(weather.shade(np.array([-float(self.side), 0.0, 0.0])))
        if self.side > 0:
            canvas.quad(self.far_end, -along, self.height * UP, front, BUILDING, light, (1.0, self.stack))
        else:
            canvas.quad(self.near, along, self.height * UP, front, BUILDING, light, (1.0, self.stack))

    def _draw_end(self, canvas: Canvas, texture: Sprite, outward: np.ndarray, light: np.ndarray) -> None:
        wall = texture.mean[:3] * light
        start = self.near if self.side > 0 else self.near + self.depth * outward
        right = self.depth * np.array([1.0, 0.0, 0.0])
        foot, rise = start + self.hidden_below * UP, (self.height - self.hidden_below) * UP
        if rise[1] > 2.5 and self.index % 2:
            canvas.quad(foot, right, rise, texture, BUILDING, light, (1.0, self.stack))
        elif rise[1] > 2.5:  # no windows to the side
            bare = end_wall_texture(self.index)
            canvas.quad(foot, right, rise, bare, BUILDING, light, (self.depth / 4, max(rise[1] / 2, 0.3)))
        else:
            canvas.face(np.stack([foot, foot + right, foot + right + rise, foot + rise]), wall, BUILDING)
        if self.roof > 0:
            eaves = self.near + self.height * UP
            peak = eaves + 0.5 * self.depth * outward + self.roof * UP
            canvas.face(np.stack([eaves, eaves + self.depth * outward, peak]), wall, BUILDING)

    def _draw_roof(self, canvas: Canvas, along: np.ndarray, outward: np.ndarray, weather: Weather) -> None:
        slope = 0.5 * self.depth * outward + self.roof * UP
        normal = np.array([-self.side * self.roof, 0.5 * self.depth, 0.0])
        eaves = self.near + self.height * UP
        if float((np.asarray(canvas.camera.position) - eaves) @ normal) <= 0:
            return
        light = weather.brightness * float(weather.shade(normal / np.linalg.norm(normal)))
        tiles = roof_texture(self.index % 32)
        repeat = (max(float(np.linalg.norm(along)) / 4, 1.0), 2.0)
        if weather.snow > 0:
            light = light * (1 + 1.6 * weather.snow)
        canvas.quad(eaves, along, slope, tiles, BUILDING, light, repeat)
        if self.index % 3 == 0:
            for place in (0.12, 0.7):
                foot = eaves + place * along + slope * 0.8
                canvas.bar(foot, foot + 1.8 * UP, 1.1, np.array([96, 74, 64]) * light, BUILDING)
        if self.index % 16 == 5:
            self._draw_spire(canvas, eaves + 0.5 * along + slope, np.array([112, 104, 92]) * light)

    def _draw_spire(self, canvas: Canvas, foot: np.ndarray, stone: np.ndarray) -> None:
        """Draw a tower with a pointed roof and pinnacles, as a church has, on the ridge at `foot` `(3,)`."""
        half, rise = 1.4 + 0.02 * self.index, 3.0 + 0.25 * self.index
        canvas.bar(foot - 2 * UP, foot + rise * UP, 2 * half, stone, BUILDING)
        right, top = half * np.array([1.0, 0.0, 0.0]), foot + rise * UP
        canvas.face(np.stack([top - right, top + right, top + 3.2 * half * UP]), stone * 0.8, BUILDING)
        for side in (-0.9, 0.9):
            canvas.face(
                np.stack([top + (side - 0.2) * right, top + (side + 0.2) * right, top + side * right + half * UP]),
                stone * 0.9,
                BUILDING,
            )


def draw_tint(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the colour that a building's paint differs by from its library front."""
    whitewashed = rng.random() < 0.12
    red, green, blue = rng.uniform(*((1.4, 2.2) if whitewashed else (0.72, 1.15))) * (
        1 + rng.uniform(-0.1, 0.1, 3) + rng.uniform(-0.08, 0.08) * np.array([1, 0, -1])
    )
    return float(red), float(green), float(blue)


def draw_bright_tint(rng: np.random.Generator) -> tuple[float, float, float]:
    """Draw the colour of a front that is pale, painted in a clear colour, or of glass under the sky."""
    kind = rng.random()
    if kind < 0.55:
        color = rng.uniform(1.3, 2.4) * (1 + rng.uniform(-0.05, 0.05, 3))
    elif kind < 0.85:
        color = rng.uniform(0.9, 1.6) * rng.uniform(0.65, 1.25, 3)
    else:
        color = rng.uniform(0.8, 1.8) * np.array([0.88, 1.02, 1.2])
    return float(color[0]), float(color[1]), float(color[2])
