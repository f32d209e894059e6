"""Traffic signs and traffic lights."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import POLE, TRAFFIC_LIGHT, TRAFFIC_SIGN, VOID
from querydiff_core.street_scenes.image.sprite import Brush, Sprite
from querydiff_core.street_scenes.weather import Weather

SIGNS = 90
MORE_SIGNS = 250
"""From SIGNS up to here are the signs of more countries."""
BOARDS = range(250, 280)
"""Large boards that show the way, over the road or beside it."""
_RED, _WHITE, _BLUE, _YELLOW, _BLACK = (196, 24, 32), (236, 236, 232), (28, 78, 168), (246, 200, 30), (22, 22, 22)


@dataclass(frozen=True)
class SignPost:
    """Sign `kind` (0 to SIGNS - 1), its middle `height` metres above `foot` `(3,)`, `size` metres wide."""

    foot: np.ndarray
    kind: int
    height: float
    size: float

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the post and the sign."""
        light = weather.brightness
        canvas.bar(self.foot, self.foot + self.height * UP, 0.07, (128 * light, 130 * light, 130 * light), POLE)
        sprite = sign_sprite(self.kind)
        tall = self.size * sprite.alpha.shape[0] / sprite.alpha.shape[1]
        before = np.array([0.0, 0.0, -0.05])
        canvas.sprite(self.foot + (self.height - tall / 2) * UP + before, (self.size, tall), sprite, light)


@dataclass(frozen=True)
class TrafficLight:
    """A traffic light on a post at `foot` `(3,)`; `state` 0 red, 1 amber, 2 green, 3 seen from behind."""

    foot: np.ndarray
    height: float
    state: int
    arm: float

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the post, the arm over the road if it has one, and the lights."""
        light = weather.brightness
        paint = (70 * light, 72 * light, 72 * light)
        canvas.bar(self.foot, self.foot + (self.height + 0.3) * UP, 0.14, paint, POLE)
        before = np.array([0.0, 0.0, -0.15])
        canvas.sprite(self.foot + (self.height - 0.75) * UP + before, (0.48, 1.2), light_sprite(self.state), light)
        if self.arm:
            tip = self.foot + np.array([self.arm, 5.6, 0.0])
            canvas.bar(self.foot, self.foot + 5.7 * UP, 0.16, paint, POLE)
            canvas.bar(self.foot + 5.6 * UP, tip, 0.12, paint, POLE)
            canvas.sprite(tip - 1.0 * UP + before, (0.5, 1.25), light_sprite(self.state), light)


@lru_cache(maxsize=8)
def light_sprite(state: int) -> Sprite:
    """Return a traffic light in `state`."""
    brush = Brush(0.48, 1.2, 80.0)
    border = 0.24
    brush.polygon([(-border, 0), (border, 0), (border, 1.2), (-border, 1.2)], (28, 29, 30), TRAFFIC_LIGHT)
    if state < 3:
        colors = ((255, 44, 36), (255, 190, 40), (60, 255, 160))
        for lamp in range(3):
            lit = lamp == state
            color = (*colors[lamp], 255) if lit else (54, 50, 48)
            brush.ellipse((0, 1.0 - 0.38 * lamp), (0.15, 0.15), color, TRAFFIC_LIGHT)
    return brush.finish(np.random.default_rng(67), folds=0.03)


@dataclass(frozen=True)
class SignMast:
    """Signs of `kinds` one below the other on a post at `foot` `(3,)`; the upper edge is `top` metres high.

    `sizes`: how wide they are, metres. `back`: seen from behind, where Cityscapes leaves a sign unlabelled.
    """

    foot: np.ndarray
    kinds: tuple[int, ...]
    sizes: tuple[float, ...]
    top: float
    back: bool = False
    post: float = 0.08

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the post and the signs, from the highest down."""
        light = weather.brightness
        grey = 80 + 70 * (self.kinds[0] % 2)
        canvas.bar(self.foot, self.foot + self.top * UP, self.post, (grey * light, grey * light, grey * light), POLE)
        edge = self.top + 0.05
        for kind, size in zip(self.kinds, self.sizes, strict=True):
            sprite = back_sprite(kind) if self.back else sign_sprite(kind)
            tall = size * sprite.alpha.shape[0] / sprite.alpha.shape[1]
            edge -= tall + 0.03
            canvas.sprite(self.foot + np.array([0.0, edge, -0.06]), (size, tall), sprite, light)


@lru_cache(maxsize=MORE_SIGNS)
def back_sprite(kind: int) -> Sprite:
    """Return the grey back of sign `kind`, unlabelled."""
    front = sign_sprite(kind)
    grey = int(np.random.default_rng((109, kind)).integers(60, 150))
    color = np.full_like(front.color, (grey, grey, grey, 0))
    return Sprite(color, front.alpha, np.where(front.labels == TRAFFIC_SIGN, VOID, front.labels).astype(np.uint8))


@lru_cache(maxsize=SIGNS + MORE_SIGNS)
def sign_sprite(kind: int) -> Sprite:
    """Return sign `kind`."""
    if kind >= SIGNS:
        return _foreign_sign(kind)
    rng = np.random.default_rng((71, kind))
    form = kind % 9
    if form in (6, 7):
        return _board(rng, (_BLUE, (24, 100, 60), _WHITE, _YELLOW, (130, 74, 40))[rng.integers(5)])
    brush = Brush(0.8, 0.8, 70.0)
    middle = (0.0, 0.4)
    if form in (0, 1):
        brush.ellipse(middle, (0.39, 0.39), _RED, TRAFFIC_SIGN)
        brush.ellipse(middle, (0.29, 0.29), _WHITE if form == 0 else _RED, TRAFFIC_SIGN)
        if form == 1:
            brush.polygon([(-0.25, 0.33), (0.25, 0.33), (0.25, 0.47), (-0.25, 0.47)], _WHITE, TRAFFIC_SIGN)
        else:
            _glyphs(brush, rng, _BLACK)
    elif form == 2:
        brush.ellipse(middle, (0.39, 0.39), _BLUE, TRAFFIC_SIGN)
        _glyphs(brush, rng, _WHITE)
    elif form in (3, 4):
        way = 1 if form == 3 else -1
        for scale, color in ((1.0, _RED), (0.62, _WHITE if rng.random() < 0.8 else _YELLOW)):
            base = 0.4 + way * (-0.36 * scale + 0.03)
            brush.polygon(
                [(-0.4 * scale, base), (0.4 * scale, base), (0, 0.4 + way * 0.38 * scale)], color, TRAFFIC_SIGN
            )
        _glyphs(brush, rng, _BLACK, 0.09)
    elif form == 5:
        brush.polygon([(0, 0.01), (0.39, 0.4), (0, 0.79), (-0.39, 0.4)], _WHITE, TRAFFIC_SIGN)
        brush.polygon([(0, 0.12), (0.28, 0.4), (0, 0.68), (-0.28, 0.4)], _YELLOW, TRAFFIC_SIGN)
    else:
        brush.polygon([(-0.39, 0.01), (0.39, 0.01), (0.39, 0.79), (-0.39, 0.79)], _BLUE, TRAFFIC_SIGN)
        _glyphs(brush, rng, _WHITE, 0.22)
    return brush.finish(rng, folds=0.04)


def _glyphs(brush: Brush, rng: np.random.Generator, color: tuple[int, int, int], reach: float = 0.16) -> None:
    for _ in range(int(rng.integers(2, 4))):
        points = rng.uniform(-reach, reach, (3, 2)) + np.array([0, 0.4])
        brush.line(points, 0.07, color, TRAFFIC_SIGN)


def _board(rng: np.random.Generator, color: tuple[int, int, int]) -> Sprite:
    """Return a board with lines of writing."""
    wide, tall = rng.uniform(0.8, 1.8), rng.uniform(0.5, 1.2)
    brush = Brush(wide, tall, 60.0)
    ink = _BLACK if sum(color) > 420 else _WHITE
    edge = wide / 2
    brush.polygon([(-edge, 0), (edge, 0), (edge, tall), (-edge, tall)], ink, TRAFFIC_SIGN)
    brush.polygon(
        [(-edge + 0.04, 0.04), (edge - 0.04, 0.04), (edge - 0.04, tall - 0.04), (-edge + 0.04, tall - 0.04)],
        color,
        TRAFFIC_SIGN,
    )
    for row in np.arange(0.18, tall - 0.1, 0.24):
        x = -edge + 0.12
        while x < edge - 0.2:
            brush.line([(x, row), (x + 0.06, row + 0.09)], 0.035, ink, TRAFFIC_SIGN)
            x += rng.uniform(0.08, 0.16)
    return brush.finish(rng, folds=0.04)


_ORANGE, _GREEN, _BROWN = (232, 120, 30), (0, 98, 64), (108, 70, 42)
_STOP = 0.42 * np.array([(np.sin(a), np.cos(a)) for a in np.pi / 8 * np.arange(1, 16, 2)])
_FORMS = (
    # corners from the middle, metres; background, rim and ink
    (_STOP, _RED, _WHITE, _WHITE),
    ([(0, -0.39), (0.39, 0), (0, 0.39), (-0.39, 0)], _YELLOW, _BLACK, _BLACK),
    ([(0, -0.39), (0.39, 0), (0, 0.39), (-0.39, 0)], _ORANGE, _BLACK, _BLACK),
    ([(-0.3, -0.39), (0.3, -0.39), (0.3, 0.39), (-0.3, 0.39)], _WHITE, _BLACK, _BLACK),
    ([(-0.3, -0.39), (0.3, -0.39), (0.3, 0.39), (-0.3, 0.39)], _WHITE, _RED, _RED),
    ([(-0.39, -0.39), (0.39, -0.39), (0.39, 0.39), (-0.39, 0.39)], _BLUE, _WHITE, _WHITE),
    ([(-0.39, -0.12), (0.39, -0.12), (0.39, 0.12), (-0.39, 0.12)], _GREEN, _WHITE, _WHITE),
    ([(-0.39, -0.12), (0.39, -0.12), (0.39, 0.12), (-0.39, 0.12)], _BLUE, _WHITE, _WHITE),
    ([(-0.39, -0.2), (0.39, -0.2), (0.39, 0.2), (-0.39, 0.2)], _WHITE, _BLACK, _BLACK),
    ([(0, -0.36), (0.39, 0.32), (-0.39, 0.32)], _WHITE, _RED, _BLACK),
    ([(0, 0.36), (0.39, -0.32), (-0.39, -0.32)], _YELLOW, _RED, _BLACK),
    ([(-0.2, -0.39), (0.2, -0.39), (0.2, 0.39), (-0.2, 0.39)], _RED, _WHITE, _WHITE),
    ([(-0.39, -0.18), (0.39, -0.18), (0.39, 0.18), (-0.39, 0.18)], _BLACK, _YELLOW, _YELLOW),
)


def _foreign_sign(kind: int) -> Sprite:
    """Return a sign of more countries, or a board that shows the way."""
    rng = np.random.default_rng((113, kind))
    if kind in BOARDS:
        return _way_board(rng)
    form = kind % (len(_FORMS) + 3)
    if form >= len(_FORMS):  # round: no stopping, speed, an order
        brush = Brush(0.8, 0.8, 70.0)
        ground = (_BLUE, _WHITE, _BLUE)[form - len(_FORMS)]
        brush.ellipse((0, 0.4), (0.39, 0.39), _RED if form < len(_FORMS) + 2 else _WHITE, TRAFFIC_SIGN)
        brush.ellipse((0, 0.4), (0.31, 0.31), ground, TRAFFIC_SIGN)
        if form == len(_FORMS):
            brush.line([(-0.2, 0.6), (0.2, 0.2)], 0.08, _RED, TRAFFIC_SIGN)
        else:
            _digits(brush, rng, _BLACK if ground == _WHITE else _WHITE, 0.4)
        return brush.finish(rng, folds=0.05)
    corners, ground, rim, ink = _FORMS[form]
    points = np.array(corners)
    half = np.abs(points).max(axis=0) + 0.01
    brush = Brush(2 * half[0], 2 * half[1], 70.0)
    brush.polygon(points * [1, -1] + [0, half[1]], rim, TRAFFIC_SIGN)
    inner = 0.7 if form in (9, 10) else 0.9
    brush.polygon(points * [inner, -inner] + [0, half[1]], ground, TRAFFIC_SIGN)
    if form in (1, 2, 9, 10):
        _arrow(brush, rng, ink, half[1])
    else:
        _digits(brush, rng, ink, half[1])
    return brush.finish(rng, folds=0.05)


def _digits(brush: Brush, rng: np.random.Generator, ink: tuple[int, int, int], middle: float) -> None:
    """Write a word or a number around the height `middle`, as large as the sign lets it."""
    tall = 0.45 * middle
    for x in np.linspace(-0.2, 0.2, int(rng.integers(2, 5))):
        shape = rng.uniform([-0.05, -tall], [0.05, tall], (3, 2)) + np.array([x, middle])
        brush.line(shape, 0.05, ink, TRAFFIC_SIGN)


def _arrow(brush: Brush, rng: np.random.Generator, ink: tuple[int, int, int], middle: float) -> None:
    """Draw a bent arrow or a figure in the middle."""
    x = rng.uniform(-0.12, 0.12, 3)
    brush.line([(x[0], middle - 0.17), (x[1], middle), (x[2], middle + 0.16)], 0.07, ink, TRAFFIC_SIGN)
    tip = np.array([x[2], middle + 0.17])
    brush.line(tip + np.array([[-0.08, -0.09], [0, 0], [0.08, -0.09]]), 0.05, ink, TRAFFIC_SIGN)


def _way_board(rng: np.random.Generator) -> Sprite:
    """Return a large board with names, arrows and a number."""
    wide, tall = rng.uniform(2.0, 4.5), rng.uniform(1.1, 2.2)
    ground = (_BLUE, _GREEN, _GREEN, _YELLOW, _WHITE, _BROWN)[rng.integers(6)]
    ink = _BLACK if sum(ground) > 420 else _WHITE
    brush = Brush(wide, tall, 44.0)
    edge = wide / 2
    for inset, color in ((0.0, ink), (0.06, ground)):
        x, high = edge - inset, tall - inset
        brush.polygon([(-x, inset), (x, inset), (x, high), (-x, high)], color, TRAFFIC_SIGN)
    for row in np.arange(0.35, tall - 0.25, 0.42):
        x = -edge + rng.uniform(0.2, 0.7)
        while x < edge - rng.uniform(0.3, 1.2):
            brush.line([(x, row - 0.1), (x + 0.04, row + 0.1), (x + 0.1, row - 0.08)], 0.05, ink, TRAFFIC_SIGN)
            x += rng.uniform(0.14, 0.22)
    x = edge - 0.3
    brush.line([(x, 0.2), (x, tall - 0.3)], 0.09, ink, TRAFFIC_SIGN)
    brush.line([(x - 0.15, tall - 0.45), (x, tall - 0.28), (x + 0.15, tall - 0.45)], 0.08, ink, TRAFFIC_SIGN)
    return brush.finish(rng, folds=0.04)
