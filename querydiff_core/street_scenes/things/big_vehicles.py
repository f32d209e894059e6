"""Buses, coaches, trucks, lorries and trams: boxes with textured sides and rounded corners."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from querydiff_core.street_scenes.image.camera import UP
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import BUS, NOTHING, TRAIN, TRUCK
from querydiff_core.street_scenes.image.noise import noise_patch
from querydiff_core.street_scenes.image.sprite import Sprite, palette
from querydiff_core.street_scenes.things.vehicles import cast_shadow, turn_about_up
from querydiff_core.street_scenes.weather import Weather

BIG_VEHICLES = 24
SCALE = 40
DOUBLE_DECKERS = 3
"""One bus in so many has two decks."""
_LIVERIES = palette("d6d6d2 e0dcce 961a1e 203e76 245c82 1e4a34 b0b2b4 ceaa32 3a3c42 be5824 ecece8")
_LABELS = {"bus": BUS, "coach": BUS, "minibus": BUS, "tram": TRAIN}
"""Those that are not named are trucks."""
TRAFFIC = ("bus", "bus", "coach", "minibus", "truck", "lorry", "lorry", "box van", "tipper", "tanker")
"""The families on roads, as often as they are drawn."""
_WINDOWS = {"cab": (0.5, 0.88), "coach": (0.5, 0.88), "upper deck": (0.64, 0.88), "lower deck": (0.3, 0.56)}
"""Lower and upper edge as shares of the height; others have theirs at 0.45 and 0.85."""
_SIZES = {
    "bus": (2.55, 3.1, 11.0),
    "coach": (2.55, 3.5, 12.0),
    "minibus": (2.1, 2.7, 6.4),
    "truck": (2.45, 3.4, 8.0),
    "lorry": (2.55, 3.9, 16.0),
    "box van": (2.15, 2.9, 6.2),
    "tipper": (2.5, 3.1, 8.0),
    "tanker": (2.5, 3.4, 9.5),
    "tram": (2.5, 3.4, 22.0),
}
_LOADS = {"truck": "box", "box van": "box", "lorry": "trailer", "tipper": "tipper", "tanker": "tank"}


@dataclass(frozen=True)
class BigVehicle:
    """A `family` of `kind` with its middle at `foot` `(3,)`, heading `yaw` radians right of +Z.

    `family`: one of TRAFFIC, or tram. `kind`: below BIG_VEHICLES in plain liveries, from there on in bright ones.
    """

    foot: np.ndarray
    yaw: float
    family: str
    kind: int

    @property
    def length(self) -> float:
        """Return its length in metres."""
        return body_size(self.family, self.kind)[2]

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the shadow and the sides that show."""
        width, height, length = body_size(self.family, self.kind)
        turn = turn_about_up(self.yaw)
        cast_shadow(canvas, self.foot, turn, width, length)
        if self.family in _LOADS:
            rear = 0.22 * length if self.family == "truck" else length / 2 - (2.6 if self.family == "lorry" else 2.1)
            cab = 0.27 * length if self.family == "truck" else rear + 0.4
            tall = height * (0.82 if self.family in ("truck", "box van", "tanker") else 0.92)
            parts = [(-length / 2, rear, height, _LOADS[self.family]), (cab, length / 2, tall, "cab")]
            if np.cos(self.yaw) < 0 or abs(np.sin(self.yaw)) > 0.5:
                parts = parts if np.cos(self.yaw) < 0 else parts[::-1]
            else:
                parts = parts[::-1]
        else:
            parts = [(-length / 2, length / 2, height, self.family)]
        for rear, front, tall, part in parts:
            self._draw_part(canvas, weather, turn, (width, tall), (rear, front), part)

    def _draw_part(
        self,
        canvas: Canvas,
        weather: Weather,
        turn: np.ndarray,
        size: tuple[float, float],
        span: tuple[float, float],
        part: str,
    ) -> None:
        width, height = size
        eye = turn.T @ (np.asarray(canvas.camera.position) - self.foot)
        label, lit = _LABELS.get(self.family, TRUCK), weather.condition != "clear"
        sides = (
            ("side", 1.0 if eye[0] > 0 else -1.0, abs(eye[0]) > width / 2),
            ("front", span[1], eye[2] > span[1]),
            ("rear", span[0], eye[2] < span[0]),
        )
        for face, place, shows in sides:
            if not shows:
                continue
            if face == "side":
                corner, edge = np.array([place * width / 2, 0.0, span[0]]), np.array([0.0, 0.0, span[1] - span[0]])
                normal = np.array([place, 0.0, 0.0])
                if place < 0 and part not in ("trailer", "tipper", "tank"):  # these have their wheels at the rear
                    corner, edge = corner + edge, -edge
            else:
                corner, edge = np.array([-width / 2, 0.0, place]), np.array([width, 0.0, 0.0])
                normal = np.array([0.0, 0.0, 1.0 if face == "front" else -1.0])
                if face == "front":
                    corner, edge = corner + edge, -edge
            texture = body_texture(part, face, self.kind, lit, weather.night)
            light = weather.brightness * float(weather.shade(turn @ normal))
            canvas.quad(self.foot + turn @ corner, turn @ edge, height * UP, texture, label, light)


def body_size(family: str, kind: int) -> tuple[float, float, float]:
    """Return width, height and length in metres."""
    rng = np.random.default_rng((79, kind))
    width, height, length = _SIZES[family]
    grow = rng.uniform(0.85, 1.15)
    return (
        width,
        float(height * rng.uniform(0.9, 1.1)) * (1.38 if family == "bus" and kind % DOUBLE_DECKERS == 0 else 1.0),
        length * grow,
    )


_AXLES = {
    "bus": (0.2, 0.78),
    "coach": (0.2, 0.7, 0.8),
    "minibus": (0.2, 0.78),
    "box": (0.2, 0.38),
    "trailer": (0.1, 0.19, 0.28, 0.86),
    "tipper": (0.18, 0.4),
    "tank": (0.15, 0.3, 0.8),
}
"""Where along the side of a part its wheels are, as shares of its length."""
_LONG = {"bus": 11.0, "coach": 12.0, "tram": 22.0, "trailer": 13.0, "box": 5.5, "cab": 2.0}
"""How long the sides of parts are painted, metres."""


@cache
def body_texture(part: str, face: str, kind: int, lit: bool, night: bool) -> Sprite:
    """Return one face of a bus, tram, truck box or cab."""
    rng = np.random.default_rng((83, kind))
    paint, second = (color * rng.uniform(0.75, 1.1) for color in _LIVERIES[rng.integers(len(_LIVERIES), size=2)])
    if kind >= BIG_VEHICLES:
        bright = rng.uniform(10, 235, (2, 3))
        paint, second = bright if rng.random() < 0.6 else 150 + 0.4 * bright[:, :1] * np.ones(3)
    upper = part == "bus" and kind % DOUBLE_DECKERS == 0
    long = _LONG.get(part, 6.0) if face == "side" else 2.5
    painter = _BodyPainter(
        rng, int(long * SCALE * (0.6 if long > 12 else 1)), int((4.3 if upper else 3.2) * SCALE), paint
    )
    painter.base(second)
    if part == "box":
        painter.cargo(second, face)
    elif part in ("trailer", "tipper", "tank"):
        painter.load(part, second, face)
    elif face == "side":
        if upper:
            painter.window_row(long, night, "upper deck")
        painter.window_row(long, night, "lower deck" if upper else part)
    else:
        painter.end(part, face, night, upper)
    painter.wheels(long, part, face)
    painter.lights(face, lit)
    return painter.finish()


class _BodyPainter:
    def __init__(self, rng: np.random.Generator, width: int, height: int, paint: np.ndarray) -> None:
        self.rng, self.width, self.height = rng, width, height
        self.color = np.ones((height, width, 3), np.float32) * paint.astype(np.float32)
        self.glow = np.zeros((height, width), np.uint8)
        self.alpha = np.full((height, width), 255, np.uint8)

    def area(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """Return a rectangle given as shares of width and height, y up."""
        rows = slice(int((1 - y1) * self.height), int((1 - y0) * self.height))
        return rows, slice(int(x0 * self.width), int(x1 * self.width))

    def base(self, second: np.ndarray) -> None:
        """Paint stripes of a second colour and the dark underside."""
        self.color[self.area(0, 0.1, 1, self.rng.uniform(0.15, 0.4))] = second
        self.color[self.area(0, 0.0, 1, 0.1)] = 28
        tone = np.linspace(1.12, 0.85, self.height, dtype=np.float32)
        self.color *= tone[:, None, None]

    def glass(self, area: tuple[slice, slice], night: bool) -> None:
        """Paint a window."""
        rows, columns = self.color[area].shape[:2]
        if not rows or not columns:
            return
        picture = cv2.resize(self.rng.random((3, 4, 1)).astype(np.float32), (columns, rows)).reshape(rows, columns, 1)
        # Above the roofs that it mirrors, glass is as light as the sky; below one looks into the dark inside.
        roofs = rows * self.rng.uniform(0.1, 0.6) * (0.6 + 0.8 * picture[0])
        mirrored = np.clip(0.5 * (roofs.T - np.arange(rows)[:, None]), 0, 1)[..., None]
        self.color[area] = np.array([34, 37, 41], np.float32) * (0.5 + picture)
        self.color[area] += mirrored * np.array([150, 158, 168], np.float32) * self.rng.uniform(0.1, 0.5)
        if night:
            self.color[area] = np.array([250, 236, 200], np.float32) * (0.5 + 0.5 * picture)
            self.glow[area] = 210

    def window_row(self, long: float, night: bool, part: str) -> None:
        """Paint the windows and doors of a bus, tram or cab."""
        low, high = _WINDOWS.get(part, (0.45, 0.85))
        panes = max(int(long / self.rng.uniform(1.3, 2.2)), 1)
        self.color[self.area(0.01, low - 0.02, 0.99, high + 0.02)] = 26
        for pane in range(panes):
            bottom = 0.12 if part in ("bus", "lower deck", "tram") and pane % 4 == 1 else low
            self.glass(self.area((pane + 0.03) / panes, bottom, (pane + 0.97) / panes, high), night)
        if part in ("bus", "upper deck") and self.rng.random() < 0.5:
            self._advertise(0.9 if part == "bus" else 0.47)

    def _advertise(self, middle: float) -> None:
        """Paint an advertisement between or above the windows."""
        left = self.rng.uniform(0.1, 0.4)
        area = self.area(left, middle - 0.035, left + self.rng.uniform(0.3, 0.5), middle + 0.045)
        self.color[area] = _LIVERIES[self.rng.integers(len(_LIVERIES))]
        rows, columns = self.color[area].shape[:2]
        self.color[area][rows // 3 : -rows // 3 or None, columns // 5 : columns // 2] *= 0.4

    def end(self, part: str, face: str, night: bool, upper: bool) -> None:
        """Paint the front or the rear of a bus, tram or cab; `upper`: it has a second deck."""
        front = face == "front"
        if upper:
            self.glass(self.area(0.06, 0.66, 0.94, 0.88), night)
        low, high = (0.26 if front else 0.38, 0.56) if upper else (0.36 if front else 0.55, 0.86)
        self.color[self.area(0.03, low - 0.02, 0.97, high + 0.02)] = 24
        self.glass(self.area(0.05, low, 0.95, high), night and not front)
        if front and part != "cab":
            board = (0.575, 0.64) if upper else (0.89, 0.97)
            self.color[self.area(0.15, board[0], 0.85, board[1])] = 18
            self.color[self.area(0.25, board[0] + 0.015, 0.72, board[1] - 0.015)] = (226, 160, 50)
            self.glow[self.area(0.25, board[0] + 0.015, 0.72, board[1] - 0.015)] = 220
        elif not front:
            self.color[self.area(0.15, 0.2, 0.85, low - 0.06)] *= 0.7
            self.color[self.area(0.25, 0.22, 0.75, 0.3)] = 30
        self.color[self.area(0.49, low, 0.51, high) if front else self.area(0, 0.1, 1, 0.13)] *= 0.6
        self.color[self.area(0.1, 0.1, 0.9, 0.14)] = 40
        self.color[self.area(0.38, 0.15, 0.62, 0.19)] = (214, 206, 150)

    def cargo(self, second: np.ndarray, face: str) -> None:
        """Paint the box of a truck: ribs, doors, a name."""
        ribs = int(self.rng.integers(3, 12))
        if face == "side":
            self.color[:, :: max(self.width // ribs, 2)] *= 0.85
            name = np.zeros((self.height, self.width), np.uint8)
            scale = self.height / 70
            letters = "".join(self.rng.choice(list("ABCEFHLNORSTVW"), 6))
            place = (self.width // 8, self.height // 2)
            cv2.putText(name, letters, place, cv2.FONT_HERSHEY_SIMPLEX, scale, 255, int(3 * scale))
            self.color[name > 0] = second
        else:
            self.color[:, self.width // 2 - 1 : self.width // 2 + 1] *= 0.4
            self.color[:, (self.width // 4, 3 * self.width // 4)] *= 0.6
        self.color[self.area(0, 0, 1, 0.26)] = 30

    def load(self, part: str, second: np.ndarray, face: str) -> None:
        """Paint what a lorry carries: a curtain or ribbed metal, a tank, an open tipper body."""
        ribs = int(self.rng.choice([6, 10, 40, 90])) if face == "side" else int(self.rng.choice([2, 4, 20]))
        if part == "tank":
            shine = np.exp(-(((np.linspace(1, 0, self.height) - 0.78) / 0.12) ** 2))[:, None, None]
            self.color[:] = self.color * 0.75 + 130 * shine.astype(np.float32)
            self.color[:, :: max(self.width // 4, 2)] *= 0.7
        else:
            self.color[:, :: max(self.width // ribs, 2)] *= self.rng.uniform(0.6, 0.9)
            if self.rng.random() < 0.5:
                left, wide, top = self.rng.uniform((0.05, 0.2, 0.6), (0.5, 0.45, 0.9))
                self.color[self.area(left, 0.45, left + wide, top)] = second
        if part == "tipper":
            self.alpha[: int(self.rng.uniform(0.12, 0.3) * self.height)] = 0
        if face != "side":
            self.color[:, self.width // 2 - 1 : self.width // 2 + 1] *= 0.4
        self.color[self.area(0, 0.1, 1, 0.34 if part == "tank" else 0.26)] = 30
        self.color[self.area(0, 0, 1, 0.1)] = 24

    def wheels(self, long: float, part: str, face: str) -> None:
        """Paint the wheels on a side."""
        if face != "side" or part == "tram":
            return
        for share in _AXLES.get(part, (0.5,)):
            centre = (int(share * self.width), int(self.height * 0.86))
            axes = (int(0.5 / long * self.width), int(0.14 * self.height))
            cv2.ellipse(self.color, centre, axes, 0, 0, 360, (18, 18, 20), -1)
            cv2.ellipse(self.color, centre, (axes[0] // 2, axes[1] // 2), 0, 0, 360, (110, 110, 112), -1)

    def lights(self, face: str, lit: bool) -> None:
        """Paint headlights or taillights."""
        if face == "side":
            return
        color = (255, 250, 236) if face == "front" else (225, 28, 30)
        for x in (0.05, 0.84):
            area = self.area(x, 0.17, x + 0.11, 0.23 if face == "front" else 0.3)
            self.color[area] = color if lit else np.array(color) * 0.7
            self.glow[area] = 245 if lit else 0

    def finish(self) -> Sprite:
        """Round the upper corners, dull the paint and return the texture."""
        radius = int(0.09 * self.height)
        corner = np.hypot(*np.mgrid[radius:0:-1, radius:0:-1]) > radius
        reach = min(radius, self.width // 2)
        self.alpha[:radius, :reach][corner[:, :reach]] = 0
        self.alpha[:radius, -reach:][corner[:, ::-1][:, -reach:]] = 0
        tone = 1 + 0.06 * noise_patch(self.rng, self.height, self.width, 1.2)
        color = np.clip(self.color * tone[..., None], 0, 255).astype(np.uint8)
        labels = np.where(self.alpha > 0, 0, NOTHING).astype(np.uint8)
        return Sprite(np.dstack([color, self.glow]), self.alpha, labels)
