"""What hangs over a road: wires, catenary masts, gantries with signs, bridges."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import POLE, VOID
from querydiff_core.street_scenes.things import LongThing
from querydiff_core.street_scenes.things.signs import sign_sprite
from querydiff_core.street_scenes.things.wall_textures import concrete_texture
from querydiff_core.street_scenes.weather import Weather


@dataclass(frozen=True)
class Wires(LongThing):
    """Wires from `near` to `far_end` `(3,)`, `spread` metres apart, `count` of them, that sag by `sag` metres.

    They have no label: annotators give their pixels to what lies behind.
    """

    spread: float
    count: int
    sag: float

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw them, thin as they are."""
        camera = canvas.camera
        share = np.linspace(0, 1, 9)[:, None]
        middle = self.near + share * (self.far_end - self.near) - 4 * self.sag * share * (1 - share) * UP
        tone = 34 * weather.brightness
        for number in range(self.count):
            aside = self.spread * (number - (self.count - 1) / 2)
            seen = camera.see(middle + np.array([aside, 0.0, 0.0]))
            seen = seen[seen[:, 2] > 0.6]
            if len(seen) < 2:
                continue
            points = (np.clip(camera.to_pixels(seen), -8000, 8000) * 16).astype(np.int32)
            left, top = np.maximum(points.min(axis=0) // 16 - 1, 0)
            right, bottom = points.max(axis=0) // 16 + 2
            area = canvas.color[top:bottom, left:right]
            if right <= 0 or bottom <= 0 or not area.size:
                continue
            drawn = area.copy()
            cv2.polylines(drawn, [points - [left * 16, top * 16]], False, (tone, tone, tone, 0), 1, cv2.LINE_AA, 4)
            width = float(np.clip(0.05 * camera.focal / seen[:, 2].mean(), 0.15, 0.9))
            area[:] = cv2.addWeighted(drawn, width, area, 1 - width, 0)


@dataclass(frozen=True)
class Gantry:
    """Signs of `kinds` over the road, between `left` and `right` metres from `foot` `(3,)`; one or two `posts`."""

    foot: np.ndarray
    left: float
    right: float
    height: float
    kinds: tuple[int, ...]
    grey: float
    posts: int

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the posts, the beams and the signs before them."""
        light = weather.brightness
        paint = np.full(3, self.grey * light)
        ends = [self.foot + np.array([d, 0.0, 0.0]) for d in (self.right, self.left)]
        for end in ends[: self.posts]:
            canvas.bar(end, end + (self.height + 0.8) * UP, 0.3, paint, POLE)
        for rise in (0.0, 0.8):
            canvas.bar(ends[0] + (self.height + rise) * UP, ends[1] + (self.height + rise) * UP, 0.16, paint, POLE)
        span = self.right - self.left
        for number, kind in enumerate(self.kinds):
            sprite = sign_sprite(kind)
            wide = min(0.85 * abs(span) / len(self.kinds), 4.5)
            tall = wide * sprite.alpha.shape[0] / sprite.alpha.shape[1]
            place = self.left + span * (number + 0.5) / len(self.kinds)
            middle = self.foot + np.array([place, self.height + 0.4 - tall / 2, -0.25])
            canvas.sprite(middle, (wide, tall), sprite, light)


@dataclass(frozen=True)
class Bridge:
    """A bridge over the road, its far edge at `foot` `(3,)`: unlabelled, as in Cityscapes; lengths in metres."""

    foot: np.ndarray
    reach: float
    clearance: float
    deck: float
    width: float
    index: int

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the piers, the underside and the front."""
        texture, light = concrete_texture(4 * self.index + 1), weather.brightness
        right, along = np.array([2 * self.reach, 0.0, 0.0]), np.array([0.0, 0.0, self.width])
        start = self.foot - np.array([self.reach, -self.clearance, self.width])
        for side in (-1, 1):
            pier = self.foot + np.array([side * 0.8 * self.reach, 0.0, -self.width / 2])
            canvas.bar(pier, pier + self.clearance * UP, 1.2, texture.mean[:3] * 0.6 * light, VOID)
        below = np.stack([start, start + right, start + right + along, start + along])
        canvas.face(below, texture.mean[:3] * 0.25 * light, VOID)
        canvas.quad(start, right, self.deck * UP, texture, VOID, 0.7 * light, (self.reach / 3, 1.0))
