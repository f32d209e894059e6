"""Street lamps, poles, bollards, bins and benches."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import POLE, VOID
from querydiff_core.street_scenes.weather import Weather


@dataclass(frozen=True)
class Lamp:
    """A street lamp at `foot` `(3,)`, its `arm` metres long towards the road (signed, to the right)."""

    foot: np.ndarray
    height: float
    arm: float
    grey: float

    @property
    def bulb(self) -> np.ndarray:
        """Return where the light comes from, `(3,)`."""
        return self.foot + np.array([self.arm, self.height - 0.1, 0.0])

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the post, the arm and the head."""
        paint = tuple(self.grey * weather.brightness * c for c in (1.0, 1.02, 1.0))
        top = self.foot + self.height * UP
        canvas.bar(self.foot, self.foot + 1.2 * UP, 0.22, paint, POLE)
        canvas.bar(self.foot, top, 0.13, paint, POLE)
        end = self.bulb + 0.1 * UP
        if abs(self.arm) > 0.1:
            canvas.bar(top, end, 0.08, paint, POLE)
        reach = np.array([0.35 * np.sign(self.arm or 1.0), 0.0, 0.0])
        canvas.bar(end - 0.5 * reach, end + reach, 0.16, paint, POLE)
        bulb = (255, 226, 170, 255) if weather.night else (190, 190, 184)
        canvas.bar(self.bulb - 0.3 * reach, self.bulb + 0.8 * reach, 0.14, bulb, POLE)


@dataclass(frozen=True)
class Post:
    """A bollard or a pole at `foot` `(3,)`; one that carries wires has cross-`bars` at its top."""

    foot: np.ndarray
    height: float
    width: float
    color: tuple[float, float, float]
    bars: int = 0

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the pole and the cross-bars."""
        paint = tuple(weather.brightness * c for c in self.color)
        canvas.bar(self.foot, self.foot + self.height * UP, self.width, paint, POLE)
        half = np.array([0.75, 0.0, 0.0])
        for bar in range(self.bars):
            middle = self.foot + (self.height - 0.3 - 0.45 * bar) * UP
            canvas.bar(middle - half, middle + half, 0.1, paint, POLE)


@dataclass(frozen=True)
class Box:
    """A bin, a cabinet or a bench at `foot` `(3,)`: unlabelled, as in Cityscapes; `size` right, up, along."""

    foot: np.ndarray
    size: tuple[float, float, float]
    color: tuple[float, float, float]

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw its front and the side that shows."""
        wide, tall, deep = self.size
        half, back = np.array([wide / 2, 0, 0]), np.array([0.0, 0.0, deep])
        rise = tall * UP
        inner = -1.0 if self.foot[0] > canvas.camera.position[0] else 1.0
        edge = self.foot + inner * half
        light = weather.brightness
        side = tuple(0.7 * light * c for c in self.color)
        front = tuple(0.95 * light * c for c in self.color)
        canvas.face(np.stack([edge, edge + back, edge + back + rise, edge + rise]), side, VOID)
        left, right = self.foot - half, self.foot + half
        canvas.face(np.stack([left, right, right + rise, left + rise]), front, VOID)
