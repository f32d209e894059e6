"""The bodies of cars and vans as meshes with rounded sections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

PAINT, GLASS, DARK, CHROME, HEADLIGHT, TAILLIGHT, PLATE, ROOF = range(8)
GLOSS = np.array([0.26, 0.45, 0.0, 0.26, 0.0, 0.0, 0.0, 0.26])
"""How much of the sky each material mirrors."""
CARS = 80


@dataclass(frozen=True)
class Mesh:
    """`vertices` `(V, 3)` right, up, ahead of the middle on the ground: four a face, then the tyres' outlines.

    `faces` `(F, 4)` in painting order, their `centres` and outward `normals` `(F, 3)`, `materials` and `gloss` `(F,)`.
    `parts`: which vertices belong to the body, which to the cabin; `length`, `width`, `height` metres.
    """

    vertices: np.ndarray
    centres: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    materials: np.ndarray
    gloss: np.ndarray
    parts: tuple[np.ndarray, np.ndarray]
    length: float
    width: float
    height: float


@dataclass(frozen=True)
class _Form:
    """The side view: lengths as shares of the length, heights in metres."""

    length: float
    width: float
    height: float
    bonnet: float
    deck: float
    belt: float
    screen_foot: float
    screen_top: float
    rear_top: float
    rear_foot: float


def _draw_form(rng: np.random.Generator) -> _Form:
    kind = rng.choice(["hatchback", "saloon", "estate", "suv", "van"], p=[0.34, 0.22, 0.16, 0.16, 0.12])
    belt = rng.uniform(0.88, 1.0)
    if kind == "hatchback":
        return _Form(rng.uniform(3.5, 4.2), 1.72, rng.uniform(1.42, 1.56), 0.84, belt, belt, 0.26, 0.06, -0.36, -0.47)
    if kind == "saloon":
        return _Form(rng.uniform(4.3, 4.9), 1.8, rng.uniform(1.38, 1.48), 0.82, 0.93, belt, 0.22, 0.06, -0.2, -0.34)
    if kind == "estate":
        return _Form(rng.uniform(4.4, 4.8), 1.8, rng.uniform(1.44, 1.54), 0.83, belt, belt, 0.22, 0.06, -0.4, -0.47)
    if kind == "suv":
        belt += 0.2
        return _Form(rng.uniform(4.2, 4.8), 1.9, rng.uniform(1.65, 1.85), 1.05, belt, belt, 0.25, 0.08, -0.39, -0.47)
    return _Form(rng.uniform(4.6, 5.6), 1.98, rng.uniform(1.95, 2.4), 1.1, 1.25, 1.25, 0.38, 0.22, -0.45, -0.485)


@lru_cache(maxsize=CARS)
def car_mesh(kind: int) -> Mesh:
    """Return the body of car `kind` (0 to CARS - 1)."""
    form = _draw_form(np.random.default_rng((73, kind)))
    builder = _Builder()
    _add_body(builder, form)
    builder.part = 1
    _add_cabin(builder, form)
    builder.part = 0
    _add_lights(builder, form)
    return builder.mesh(form)


class _Builder:
    def __init__(self) -> None:
        self.quads: list[np.ndarray] = []
        self.materials: list[int] = []
        self.inside: list[np.ndarray] = []
        self.parts: list[int] = []
        self.part = 0

    def add(self, quad: np.ndarray, material: int, inside: np.ndarray) -> None:
        """Add a quad `(4, 3)`; its outward side is the one away from the point `inside` the body."""
        self.quads.append(quad)
        self.materials.append(material)
        self.inside.append(inside)
        self.parts.append(self.part)

    def mesh(self, form: _Form) -> Mesh:
        """Return all quads as one mesh."""
        quads = np.array(self.quads)
        normals = np.cross(quads[:, 2] - quads[:, 0], quads[:, 3] - quads[:, 1])
        normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-9)
        outward = quads.mean(axis=1) - np.array(self.inside)
        normals *= np.where((normals * outward).sum(axis=1) < 0, -1, 1)[:, None]
        count, parts = len(quads), np.array(self.parts)
        return Mesh(
            np.concatenate([quads.reshape(-1, 3), _wheels(form)]),
            quads.mean(axis=1),
            np.arange(4 * count).reshape(count, 4),
            normals,
            np.array(self.materials),
            GLOSS[self.materials],
            (_vertices_of(parts == 0), _vertices_of(parts == 1)),
            form.length,
            form.width,
            form.height,
        )


def _wheels(form: _Form) -> np.ndarray:
    """Return the outlines of the tyres, `(2 sides x 2 axles x 14, 3)`, left side first."""
    angles, radius = np.linspace(0, 2 * np.pi, 14, endpoint=False), 0.32
    circle = radius * np.column_stack([np.zeros(14), np.sin(angles) + 1, np.cos(angles)])
    hubs = [(side * (form.width / 2 - 0.02), 0.0, axle * form.length) for side in (-1, 1) for axle in (0.31, -0.3)]
    return np.concatenate([circle + np.array(hub) for hub in hubs])


def _vertices_of(quads: np.ndarray) -> np.ndarray:
    return np.flatnonzero(np.repeat(quads, 4))


def _add_body(builder: _Builder, form: _Form) -> None:
    """Loft the lower body over stations along the car; its ends are narrower and lower, so that it looks round."""
    half, length = form.width / 2, form.length
    # ahead (share of length), half width, top, bottom
    stations = [
        (-0.5, 0.80, form.deck - 0.22, 0.34),
        (-0.47, 0.93, form.deck - 0.04, 0.24),
        (-0.36, 1.0, form.deck, 0.2),
        (form.screen_foot, 1.0, form.belt, 0.2),
        (0.40, 0.97, form.bonnet - 0.05, 0.2),
        (0.47, 0.88, form.bonnet - 0.14, 0.22),
        (0.5, 0.72, form.bonnet - 0.3, 0.3),
    ]
    rings = [_ring(share * length, wide * half, top, low) for share, wide, top, low in stations]
    for rear, front in pairwise(rings):
        inside = (rear.mean(axis=0) + front.mean(axis=0)) / 2
        for edge in range(7):
            quad = np.stack([rear[edge], rear[edge + 1], front[edge + 1], front[edge]])
            builder.add(quad, DARK if edge in (0, 6) else PAINT, inside)
    middle = np.array([0.0, 0.6, 0.0])
    for ring in (rings[0], rings[-1]):
        builder.add(ring[[0, 1, 6, 7]], DARK, middle)
        builder.add(ring[[1, 2, 5, 6]], PAINT, middle)
        builder.add(ring[[2, 3, 4, 5]], PAINT, middle)


def _ring(ahead: float, half: float, top: float, low: float) -> np.ndarray:
    """Return the section of the body, `(8, 3)`, from the lower left over the top to the lower right."""
    rise = top - low
    left = [(0.94, low), (0.98, low + 0.2 * rise), (1.0, low + 0.62 * rise), (0.90, top)]
    points = [(-share * half, y, ahead) for share, y in left]
    return np.array(points + [(-x, y, z) for x, y, z in reversed(points)])


def _add_cabin(builder: _Builder, form: _Form) -> None:
    """Add windows, pillars and a roof with a rounded edge."""
    half, length = form.width / 2, form.length
    foot, edge, top = form.belt - 0.02, form.height - 0.07, form.height
    low = _rectangle(0.90 * half, foot, form.rear_foot * length, form.screen_foot * length)
    slope = 0.02 * length
    high = _rectangle(0.76 * half, edge, form.rear_top * length, form.screen_top * length)
    roof = _rectangle(0.64 * half, top, form.rear_top * length + slope, form.screen_top * length - slope)
    middle = np.array([0.0, (foot + top) / 2, (form.rear_top + form.screen_top) / 2 * length])
    for corner in range(4):
        following = (corner + 1) % 4
        side = np.stack([low[corner], low[following], high[following], high[corner]])
        builder.add(side, PAINT, middle)
        for pane in _panes(side, 2 if corner % 2 else 1):
            builder.add(pane, GLASS, middle)
        builder.add(np.stack([high[corner], high[following], roof[following], roof[corner]]), ROOF, middle)
    builder.add(roof, ROOF, middle)


def _rectangle(half: float, height: float, rear: float, front: float) -> np.ndarray:
    """Return corners `(4, 3)`: the first edge is the rear, the second the right side."""
    return np.array([(-half, height, rear), (half, height, rear), (half, height, front), (-half, height, front)])


def _panes(side: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the windows inside a side of the cabin: inset quads `(4, 3)`."""
    panes = []
    for pane in range(count):
        left, right = (pane + 0.06) / count, (pane + 0.94) / count
        corners = []
        for across, up in ((left, 0.1), (right, 0.1), (right, 0.92), (left, 0.92)):
            bottom = side[0] + across * (side[1] - side[0])
            corners.append(bottom + up * (side[3] + across * (side[2] - side[3]) - bottom))
        panes.append(np.array(corners))
    return panes


def _add_lights(builder: _Builder, form: _Form) -> None:
    half, length, middle = form.width / 2, form.length, np.array([0.0, 0.6, 0.0])
    high = form.bonnet - 0.2

    def upright(x0: float, x1: float, y0: float, y1: float, z: float, slant: float) -> np.ndarray:
        return np.array([(x0, y0, z), (x1, y0, z - slant), (x1, y1, z - slant), (x0, y1, z)])

    front, rear = 0.503 * length, -0.503 * length
    builder.add(upright(-0.4 * half, 0.4 * half, high - 0.22, high - 0.05, front, 0), DARK, middle)
    builder.add(upright(-0.25, 0.25, 0.38, 0.49, front, 0), PLATE, middle)
    builder.add(upright(-0.25, 0.25, form.deck - 0.42, form.deck - 0.31, rear, 0), PLATE, middle)
    for side in (-1, 1):
        builder.add(
            upright(0.5 * half * side, 0.86 * half * side, high - 0.2, high - 0.02, front, 0.12), HEADLIGHT, middle
        )
        builder.add(
            upright(0.56 * half * side, 0.9 * half * side, form.deck - 0.32, form.deck - 0.1, rear, -0.1),
            TAILLIGHT,
            middle,
        )
