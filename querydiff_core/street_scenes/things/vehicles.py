"""Cars, drawn face by face with the reflections of a street in them."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from querydiff_core.street_scenes.image.camera import cut_near
from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import CAR
from querydiff_core.street_scenes.image.noise import noise_tile
from querydiff_core.street_scenes.things.car_shapes import (
    CHROME,
    DARK,
    GLASS,
    GLOSS,
    HEADLIGHT,
    LOW_GLASS,
    PAINT,
    PLATE,
    REAR_PLATE,
    ROOF,
    TAILLIGHT,
    Mesh,
    car_mesh,
)
from querydiff_core.street_scenes.weather import Weather

SILVER, GREY, ANTHRACITE, BLACK, WHITE = (176, 179, 182), (118, 121, 125), (70, 73, 77), (26, 27, 30), (226, 226, 223)
NAVY, BLUE, RED, GREEN, BEIGE = (30, 40, 76), (52, 82, 130), (136, 24, 28), (38, 58, 48), (146, 134, 112)
_COLORS = (SILVER, GREY, ANTHRACITE, BLACK, WHITE, NAVY, BLUE, RED, GREEN, BEIGE)
PAINTS = np.repeat(np.array(_COLORS, np.float64), (5, 3, 2, 4, 2, 3, 1, 2, 1, 1), axis=0)
"""As often as they are seen on streets."""
_FIXED = {
    GLASS: (30, 34, 38),
    LOW_GLASS: (20, 22, 24),
    DARK: (22, 23, 25),
    CHROME: (170, 172, 174),
    HEADLIGHT: (206, 209, 212),
    TAILLIGHT: (138, 20, 22),
    PLATE: (206, 206, 200),
    REAR_PLATE: (204, 178, 60),
}


@dataclass(frozen=True)
class Car:
    """A car of `kind` (0 to CARS - 1) whose middle is at `foot` `(3,)`, heading `yaw` radians right of +Z."""

    foot: np.ndarray
    yaw: float
    kind: int
    color: int
    parked: bool
    braking: bool

    @property
    def length(self) -> float:
        """Return its length in metres."""
        return car_mesh(self.kind).length

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw the shadow, the body, the wheels."""
        mesh = car_mesh(self.kind)
        turn = turn_about_up(self.yaw)
        seen = canvas.camera.see(mesh.vertices @ turn.T + self.foot)
        if seen[:, 2].max() < 1.0 or _beside(canvas, seen):
            return
        cast_shadow(canvas, self.foot, turn, mesh.width, mesh.length)
        eye = turn.T @ (np.asarray(canvas.camera.position) - self.foot)
        toward = ((eye - mesh.centres) * mesh.normals).sum(axis=1) > 0
        depth = float(max(seen[:, 2].mean(), 1.0))
        body, wheels = seen[: 4 * len(mesh.faces)], seen[4 * len(mesh.faces) :].reshape(2, 2, -1, 3)
        near_side = 1 if eye[0] > 0 else 0
        tiny = canvas.camera.focal / depth < 5
        if not tiny:
            _draw_wheels(canvas, wheels[1 - near_side], depth)
        colors = self._colors(mesh, mesh.normals @ turn.T, weather)
        box = _draw_faces(canvas, mesh, body, colors, toward, depth)
        if box is not None and not tiny:
            _draw_arches(canvas, wheels[near_side])
            _draw_wheels(canvas, wheels[near_side], depth)
            _reflect(canvas, box, self.kind + self.color, CAR)

    def _colors(self, mesh: Mesh, normals: np.ndarray, weather: Weather) -> np.ndarray:
        """Return RGB and emission of each face `(F, 4)`: paint mirrors the sky above and the street beside."""
        paint = PAINTS[self.color * 7 % len(PAINTS)] * (0.8 + 0.02 * (self.kind % 20))
        palette = np.tile(paint, (len(GLOSS), 1))
        palette[list(_FIXED)] = list(_FIXED.values())
        if self.kind % 3 == 0:
            palette[REAR_PLATE] = palette[PLATE]
        base = palette[mesh.materials]
        shade = np.asarray(weather.shade(normals))[:, None]
        up = normals[:, 1:2]
        color = base * shade * weather.brightness * 0.95
        color += (_mirrored(up, weather) - color) * mesh.gloss[:, None] * (0.35 + 0.65 * np.abs(up))
        if weather.snow > 0:
            cover = (np.isin(mesh.materials, (PAINT, ROOF))[:, None] & (up > 0.75)) * min(weather.snow + 0.2, 0.95)
            color += (np.array([226, 230, 236]) * weather.brightness - color) * cover * (1.0 if self.parked else 0.4)
        glow = np.zeros(len(color))
        lit = not self.parked and (weather.condition != "clear" or (weather.dim and self.color % 4 > 0))
        if lit or self.braking:
            tail = mesh.materials == TAILLIGHT
            color[tail], glow[tail] = (255, 40, 34), 230
        if lit:
            head = mesh.materials == HEADLIGHT
            color[head], glow[head] = (255, 250, 235), 255
        return np.column_stack([color, glow])


def _mirrored(up: np.ndarray, weather: Weather) -> np.ndarray:
    """Return what surfaces facing `up` (sine, `(F, 1)`) mirror: road below, dark fronts at the horizon, sky above."""
    sky = np.asarray(weather.haze_color) * (0.25 if weather.night else 1.0)
    road = np.array([84.0, 84.0, 86.0]) * weather.brightness
    fronts = np.array([46.0, 44.0, 42.0]) * weather.brightness
    above, below = np.clip(up * 2.2 - 0.1, 0, 1), np.clip(-up * 5, 0, 1)
    return np.asarray(fronts + (sky - fronts) * above + (road - fronts) * below)


def _beside(canvas: Canvas, seen: np.ndarray) -> bool:
    """Return whether all points in camera coordinates lie left or all lie right of the picture."""
    bound = 0.5 * canvas.camera.width / canvas.camera.focal * np.maximum(seen[:, 2], 0.0) + 0.5
    return bool((seen[:, 0] > bound).all() or (-seen[:, 0] > bound).all())


def turn_about_up(yaw: float) -> np.ndarray:
    """Return the rotation `(3, 3)` that turns +Z to `yaw` radians towards +X."""
    return np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])


def cast_shadow(canvas: Canvas, foot: np.ndarray, turn: np.ndarray, width: float, length: float) -> None:
    """Darken the ground under a vehicle."""
    angles = np.linspace(0, 2 * np.pi, 12, endpoint=False)
    rim = np.column_stack([np.cos(angles), np.zeros(12), np.sin(angles)])
    rim = np.sign(rim) * np.abs(rim) ** 0.4 * [0.54 * width, 0.0, 0.53 * length]
    for reach, tone in ((1.12, 0.78), (1.0, 0.62), (0.86, 0.6)):
        darken(canvas, reach * rim @ turn.T + foot, tone)


def darken(canvas: Canvas, ring: np.ndarray, tone: float) -> None:
    """Multiply what is seen inside the convex ground polygon `ring` `(N, 3)` by `tone`."""
    outline = canvas.camera.outline(ring)
    if outline is None:
        return
    left, top = np.maximum(np.floor(outline.min(axis=0)), 0).astype(int)
    right = int(min(outline[:, 0].max() + 2, canvas.camera.width))
    bottom = int(min(outline[:, 1].max() + 2, canvas.camera.height))
    if right <= left or bottom <= top:
        return
    weight = np.full((bottom - top, right - left), 255, np.uint8)
    points = (np.clip(outline - [left, top], -8000, 8000) * 16).astype(np.int32)
    cv2.fillConvexPoly(weight, points, int(255 * tone), cv2.LINE_AA, 4)
    area = canvas.color[top:bottom, left:right]
    area[:] = cv2.multiply(area, cv2.merge([weight] * 4), scale=1 / 255)


def _draw_faces(
    canvas: Canvas, mesh: Mesh, seen: np.ndarray, colors: np.ndarray, toward: np.ndarray, depth: float
) -> tuple[int, int, int, int] | None:
    """Draw the faces that look `toward` the camera and return the box they fill."""
    if seen[:, 2].min() < 0.5:
        return _draw_cut_faces(canvas, mesh, seen, colors, toward, depth)
    pixels = canvas.camera.to_pixels(seen)
    low, high = pixels.min(axis=0), pixels.max(axis=0)
    if high[0] < 0 or low[0] > canvas.camera.width:
        return None
    fixed = (np.clip(pixels, -8000, 8000) * 16).astype(np.int32)
    # The body and the cabin are convex: their outlines carry the label, their faces only colour.
    for part in mesh.parts:
        outline = cv2.convexHull(fixed[part])
        cv2.fillConvexPoly(canvas.labels, outline, CAR, cv2.LINE_8, 4)
        cv2.fillConvexPoly(canvas.depth, outline, depth, cv2.LINE_8, 4)
        cv2.fillConvexPoly(canvas.color, outline, (30, 31, 33, 0), cv2.LINE_8, 4)
    order = np.flatnonzero(toward)
    paints = np.clip(colors, 0, 255).tolist()
    for index in order:
        cv2.fillConvexPoly(canvas.color, fixed[mesh.faces[index]], paints[index], cv2.LINE_AA, 4)
    return _box(canvas, low, high)


def _draw_cut_faces(
    canvas: Canvas, mesh: Mesh, seen: np.ndarray, colors: np.ndarray, toward: np.ndarray, depth: float
) -> tuple[int, int, int, int] | None:
    """Draw the faces of a car that is partly beside or behind the camera."""
    low, high = np.full(2, np.inf), np.full(2, -np.inf)
    for index in np.flatnonzero(toward):
        cut = cut_near(seen[mesh.faces[index]])
        if len(cut) >= 3:
            outline = canvas.camera.to_pixels(cut)
            canvas.polygon(outline, colors[index], CAR, depth)
            low, high = np.minimum(low, outline.min(axis=0)), np.maximum(high, outline.max(axis=0))
    return _box(canvas, low, high) if np.isfinite(low).all() else None


def _box(canvas: Canvas, low: np.ndarray, high: np.ndarray) -> tuple[int, int, int, int] | None:
    left, top = (int(v) for v in np.clip(low, 0, 1e6))
    right, bottom = int(min(high[0] + 1, canvas.camera.width)), int(min(high[1] + 1, canvas.camera.height))
    return (left, top, right, bottom) if right - left > 3 and bottom - top > 3 else None


def _draw_wheels(canvas: Canvas, rims: np.ndarray, depth: float) -> None:
    """Draw the wheels of one side from the outlines of their tyres `(axle, N, 3)` in camera coordinates."""
    if rims[..., 2].min() < 0.5:
        return
    for rim in rims:
        outline = canvas.camera.to_pixels(rim)
        canvas.polygon(outline, (20, 20, 22), CAR, depth)
        hub = outline.mean(axis=0)
        canvas.polygon(hub + 0.6 * (outline - hub), (46, 47, 49))
        canvas.polygon(hub + 0.5 * (outline - hub), (112, 114, 116))
        canvas.polygon(hub + 0.16 * (outline - hub), (58, 59, 61))


def _draw_arches(canvas: Canvas, rims: np.ndarray) -> None:
    """Draw the dark wheel arches around the tyres `(axle, N, 3)`, on the body's colours only."""
    if rims[..., 2].min() < 0.5:
        return
    for rim in rims:
        outline = canvas.camera.to_pixels(rim)
        hub = outline.mean(axis=0)
        arch = hub + 1.24 * (outline - hub)
        arch[:, 1] = np.minimum(arch[:, 1], hub[1] + 0.4 * (outline[:, 1].max() - hub[1]))
        canvas.polygon(arch, (14, 14, 15))


def _reflect(canvas: Canvas, box: tuple[int, int, int, int], seed: int, label: int) -> None:
    """Lay the broken reflections of a street over a body: lighter and darker bands, softly uneven."""
    left, top, right, bottom = box
    if right - left < 14:
        return
    tile = noise_tile(seed % 8, 256, 1.0)
    piece = tile[(seed * 37) % 200 : (seed * 37) % 200 + 24, (seed * 53) % 200 : (seed * 53) % 200 + 24]
    gloss = cv2.resize(1.0 + 0.13 * piece, (right - left, bottom - top), interpolation=cv2.INTER_LINEAR)
    gloss[canvas.labels[top:bottom, left:right] != label] = 1.0
    area = canvas.color[top:bottom, left:right]
    gain = cv2.merge([gloss, gloss, gloss, np.ones_like(gloss)])
    area[:] = cv2.multiply(area, gain, dtype=cv2.CV_8U)
