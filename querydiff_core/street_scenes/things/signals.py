"""Traffic lights of several countries: on posts, on arms over the road, on wires, from all sides."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import POLE, TRAFFIC_LIGHT
from querydiff_core.street_scenes.image.sprite import Brush, Sprite
from querydiff_core.street_scenes.weather import Weather

HOUSINGS = 10
"""Kinds of housing: black, grey, green and yellow ones, with a board behind them or none, upright or lying."""
RED, AMBER, GREEN, BACK = range(4)
_LAMPS = ((255, 44, 36), (255, 180, 40), (60, 255, 170))
_PAINTS = ((26, 27, 28), (26, 27, 28), (44, 48, 50), (212, 160, 24), (224, 176, 40), (30, 52, 42))


@dataclass(frozen=True)
class Signal:
    """A post at `foot` `(3,)` with a light at `height` metres, and lights along an `arm` (metres, signed to the right).

    `heads`: where along the arm, as shares of it, lights hang, `height` of them `arm_height`. `walkers`: a small light
    for people below. `state`: RED to BACK, as seen from the camera. `grey`: of the post.
    """

    foot: np.ndarray
    height: float
    housing: int
    state: int
    grey: float
    arm: float = 0.0
    arm_height: float = 5.6
    heads: tuple[float, ...] = ()
    walkers: bool = False

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the post, the arm, and the lights before them."""
        light = weather.brightness
        paint = (self.grey * light, self.grey * light, 0.98 * self.grey * light)
        top = (self.arm_height if self.arm else self.height) + 0.3
        canvas.bar(self.foot, self.foot + top * UP, 0.17 if self.arm else 0.13, paint, POLE)
        if self.arm:
            rise = np.array([0.0, 0.12 * abs(self.arm), 0.0])
            shoulder = self.foot + self.arm_height * UP
            tip = shoulder + np.array([self.arm, 0.0, 0.0])
            canvas.bar(shoulder - 0.4 * rise, tip, 0.13, paint, POLE)
            for share in self.heads:
                self._draw_head(canvas, shoulder + share * (tip - shoulder) - 0.15 * UP, light)
        if self.height:
            self._draw_head(canvas, self.foot + self.height * UP, light)
        if self.walkers:
            sprite = signal_sprite(self.housing, self.state if self.state in (RED, BACK) else GREEN, 2)
            canvas.sprite(self.foot + np.array([0.28, 1.9, -0.1]), (0.32, 0.64), sprite, light)

    def _draw_head(self, canvas: Canvas, middle: np.ndarray, light: float) -> None:
        """Draw one light around `middle` `(3,)`."""
        sprite = signal_sprite(self.housing, self.state, 3)
        height = sprite.alpha.shape[0] / 80
        size = (sprite.alpha.shape[1] / 80, height)
        canvas.sprite(middle - 0.5 * height * UP + np.array([0.0, 0.0, -0.16]), size, sprite, light)


@lru_cache(maxsize=128)
def signal_sprite(housing: int, state: int, lamps: int) -> Sprite:
    """Return a light of `lamps` lamps (3, or 2 for people) in `state`, 80 pixels a metre."""
    rng = np.random.default_rng((107, housing))
    paint = np.array(_PAINTS[housing % len(_PAINTS)]) * rng.uniform(0.8, 1.2)
    board = (0.0, 0.16, 0.0)[housing % 3] if lamps == 3 else 0.0
    lying = housing == HOUSINGS - 1 and lamps == 3
    wide, tall = 0.36 + 2 * board, 0.36 * lamps + 2 * board
    brush = Brush(tall if lying else wide, wide if lying else tall, 80.0)

    def rectangle(edge: float, color: np.ndarray) -> None:
        """Fill the light but for `edge` metres."""
        half, high = wide / 2 - edge, tall - edge
        corners = [(-half, edge), (half, edge), (half, high), (-half, high)]
        brush.polygon([(y - tall / 2, x + wide / 2) for x, y in corners] if lying else corners, color, TRAFFIC_LIGHT)

    if board:
        rectangle(0.0, np.array([214, 190, 60] if housing == 4 else [228, 228, 224] if housing == 7 else [16, 17, 18]))
        rectangle(0.035, np.array([18, 19, 20]))
    rectangle(board, paint * (0.75 if state == BACK else 1.0))
    for lamp in range(lamps if state != BACK else 0):
        color = _LAMPS[lamp if lamps == 3 else 2 * lamp]
        lit = state == (lamp if lamps == 3 else 2 * lamp)
        y = tall - board - 0.18 - 0.36 * lamp
        middle = (y - tall / 2, wide / 2) if lying else (0.0, y)
        brush.ellipse(middle, (0.145, 0.145), np.array(color) * 0.12 + 12, TRAFFIC_LIGHT)
        if lit:
            brush.ellipse(middle, (0.135, 0.135), (*color, 255), TRAFFIC_LIGHT)
    return brush.finish(rng, folds=0.03)
