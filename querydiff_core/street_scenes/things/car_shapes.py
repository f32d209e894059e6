"""The bodies of cars and vans as meshes with rounded sections."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np

PAINT, GLASS, DARK, CHROME, HEADLIGHT, TAILLIGHT, PLATE, ROOF, LOW_GLASS, REAR_PLATE = range(10)
GLOSS = np.array([0.42, 0.5, 0.04, 0.26, 0.1, 0.1, 0.0, 0.42, 0.3, 0.0])
"""How much of its surroundings each material mirrors."""
CARS = 80


@dataclass(frozen=True)
class Mesh:
    """`vertices` `(V, 3)` right, up, ahead of the middle on the ground: four for each face, then the tyres' outlines.

    `faces` `(F, 4)` in painting order, their `centres` and outward `normals` `(F, 3)`, `materials` and `gloss` `(F,)`.
    `parts`: which vertices belong to the body, to the cabin and to each mirror; `length`, `width`, `height` metres.
    """

    vertices: np.ndarray
    centres: np.ndarray
    faces: np.ndarray
    normals: np.ndarray
    materials: np.ndarray
    gloss: np.ndarray
    parts: tuple[np.ndarray, ...]
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


_FORMS = {
    # share of cars; length, width, height; belt, bonnet, how much the deck lies below the belt; screen and rear
    "supermini": (0.2, (3.6, 1.64, 1.47), (0.92, 0.86, 0.0), (0.29, 0.1, -0.4, -0.475)),
    "hatchback": (0.22, (4.05, 1.74, 1.46), (0.92, 0.83, 0.0), (0.27, 0.06, -0.35, -0.46)),
    "saloon": (0.2, (4.6, 1.8, 1.41), (0.96, 0.82, 0.02), (0.23, 0.06, -0.2, -0.36)),
    "estate": (0.12, (4.6, 1.78, 1.47), (0.93, 0.83, 0.0), (0.23, 0.06, -0.4, -0.47)),
    "suv": (0.1, (4.45, 1.86, 1.75), (1.12, 1.05, 0.0), (0.25, 0.09, -0.41, -0.47)),
    "people carrier": (0.08, (4.4, 1.8, 1.67), (1.0, 0.95, 0.0), (0.34, 0.12, -0.42, -0.475)),
    "van": (0.08, (5.0, 1.95, 2.12), (1.25, 1.1, 0.0), (0.38, 0.22, -0.46, -0.487)),
}


def _draw_form(rng: np.random.Generator) -> _Form:
    kind = rng.choice(list(_FORMS), p=[form[0] for form in _FORMS.values()])
    _, (length, width, height), (belt, bonnet, drop), (foot, top, rear_top, rear_foot) = _FORMS[kind]
    belt *= rng.uniform(0.96, 1.05)
    rear_top += rng.uniform(-0.015, 0.045)
    height *= rng.uniform(0.96, 1.06)
    return _Form(
        length * rng.uniform(0.94, 1.07), width, height, bonnet, belt - drop, belt, foot, top, rear_top, rear_foot
    )


@lru_cache(maxsize=CARS)
def car_mesh(kind: int) -> Mesh:
    """Return the body of car `kind` (0 to CARS - 1)."""
    rng = np.random.default_rng((73, kind))
    form = _draw_form(rng)
    builder = _Builder()
    for side, part in ((-1, 2), (1, 3)):
        builder.part = part
        _add_mirror(builder, form, side)
    builder.part = 0
    _add_body(builder, form)
    builder.part = 1
    _add_cabin(builder, form, heads=int(rng.integers(0, 3)), blind=form.height > 1.86 and rng.random() < 0.6)
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
            tuple(_vertices_of(parts == part) for part in range(4)),
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
    """Loft the lower body over stations along the car; its ends are narrower and lower, so that it appears round."""
    half, length = form.width / 2, form.length
    # ahead (share of length), half width, top, bottom
    stations = [
        (-0.5, 0.74, form.deck - 0.3, 0.36),
        (-0.488, 0.86, form.deck - 0.12, 0.27),
        (-0.455, 0.95, form.deck - 0.02, 0.22),
        (-0.34, 1.0, form.deck + 0.01, 0.2),
        (form.screen_foot, 1.0, form.belt, 0.2),
        (0.5 * form.screen_foot + 0.2, 0.985, form.bonnet + 0.3 * (form.belt - form.bonnet), 0.2),
        (0.43, 0.93, form.bonnet - 0.09, 0.2),
        (0.475, 0.84, form.bonnet - 0.18, 0.23),
        (0.493, 0.72, form.bonnet - 0.27, 0.27),
        (0.5, 0.6, form.bonnet - 0.36, 0.34),
    ]
    rings = [_ring(share * length, wide * half, top, low) for share, wide, top, low in stations]
    for rear, front in pairwise(rings):
        inside = (rear.mean(axis=0) + front.mean(axis=0)) / 2
        for edge in range(len(rear) - 1):
            quad = np.stack([rear[edge], rear[edge + 1], front[edge + 1], front[edge]])
            builder.add(quad, DARK if edge in (0, len(rear) - 2) else PAINT, inside)
    middle = np.array([0.0, 0.6, 0.0])
    for ring in (rings[0], rings[-1]):
        for level in range(len(ring) // 2 - 1):
            quad = ring[[level, level + 1, -level - 2, -level - 1]]
            builder.add(quad, DARK if level == 0 else PAINT, middle)


def _ring(ahead: float, half: float, top: float, low: float) -> np.ndarray:
    """Return the section of the body, `(12, 3)`, from the lower left over the top to the lower right."""
    rise = top - low
    shares = [(0.92, 0.0), (0.975, 0.16), (1.0, 0.42), (0.99, 0.7), (0.95, 0.9), (0.84, 1.0)]
    points = [(-across * half, low + up * rise, ahead) for across, up in shares]
    return np.array(points + [(-x, y, z) for x, y, z in reversed(points)])


def _add_cabin(builder: _Builder, form: _Form, heads: int, blind: bool) -> None:
    """Add windows, pillars and a roof with a rounded edge; `heads` show through, a `blind` van has no side windows."""
    half, length = form.width / 2, form.length
    foot, edge, top = form.belt - 0.02, form.height - 0.09, form.height
    low = _rectangle(0.90 * half, foot, form.rear_foot * length, form.screen_foot * length)
    slope = 0.03 * length
    high = _rectangle(0.74 * half, edge, form.rear_top * length, form.screen_top * length)
    shoulder = _rectangle(
        0.68 * half, top - 0.03, form.rear_top * length + 0.3 * slope, form.screen_top * length - 0.5 * slope
    )
    roof = _rectangle(0.52 * half, top, form.rear_top * length + slope, form.screen_top * length - 1.4 * slope)
    middle = np.array([0.0, (foot + top) / 2, (form.rear_top + form.screen_top) / 2 * length])
    for corner in range(4):
        following = (corner + 1) % 4
        side = np.stack([low[corner], low[following], high[following], high[corner]])
        builder.add(side, PAINT, middle)
        for number, pane in enumerate(_panes(side, 2 if corner % 2 else 1)):
            # The rear half of either side of a blind van is sheet metal.
            if not blind or corner == 2 or (corner, number) in ((1, 1), (3, 0)):
                _add_glass(builder, pane, middle, 0 if corner % 2 else heads)
        for lower, upper in ((high, shoulder), (shoulder, roof)):
            builder.add(np.stack([lower[corner], lower[following], upper[following], upper[corner]]), ROOF, middle)
    builder.add(roof, ROOF, middle)


def _add_glass(builder: _Builder, pane: np.ndarray, middle: np.ndarray, heads: int) -> None:
    """Add a window: its lower part mirrors the street, its upper part the sky; `heads` are dark behind it."""

    def part(left: float, right: float, low: float, high: float) -> np.ndarray:
        foot, head = pane[1] - pane[0], pane[2] - pane[3]
        lower = [pane[0] + share * foot for share in (left, right)]
        upper = [pane[3] + share * head for share in (left, right)]
        return np.stack(
            [
                a + share * (b - a)
                for a, b, share in zip(
                    (*lower, *lower[::-1]), (*upper, *upper[::-1]), (low, low, high, high), strict=True
                )
            ]
        )

    builder.add(part(0, 1, 0, 0.6), LOW_GLASS, middle)
    builder.add(part(0.01, 0.99, 0.6, 1), GLASS, middle)
    for place in (0.24, 0.62)[:heads]:
        builder.add(part(place - 0.02, place + 0.16, 0.0, 0.35), DARK, middle)
        builder.add(part(place + 0.02, place + 0.12, 0.35, 0.66), DARK, middle)


def _add_mirror(builder: _Builder, form: _Form, side: int) -> None:
    """Add a door mirror: a small dark box beside the foot of the windscreen."""
    x, y, z = side * (0.5 * form.width + 0.04), form.belt + 0.06, (form.screen_foot - 0.05) * form.length
    for ahead in (-0.06, 0.06):
        corners = [(-0.1, -0.07), (0.1, -0.07), (0.1, 0.07), (-0.1, 0.07)]
        quad = np.array([(x + right, y + up, z + ahead) for right, up in corners])
        builder.add(quad, DARK, np.array([x, y, z]))


def _rectangle(half: float, height: float, rear: float, front: float) -> np.ndarray:
    """Return corners `(4, 3)`: the first edge is the rear, the second the right side."""
    return np.array([(-half, height, rear), (half, height, rear), (half, height, front), (-half, height, front)])


def _panes(side: np.ndarray, count: int) -> list[np.ndarray]:
    """Return the windows inside a side of the cabin: inset quads `(4, 3)`."""
    panes = []
    for pane in range(count):
        left, right = (pane + 0.05) / count, (pane + 0.96) / count
        corners = []
        for across, up in ((left, 0.06), (right, 0.06), (right, 0.94), (left, 0.94)):
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
    builder.add(upright(-0.36 * half, 0.36 * half, high - 0.24, high - 0.1, front, 0), DARK, middle)
    builder.add(upright(-0.62 * half, 0.62 * half, 0.26, 0.36, front, 0), DARK, middle)
    builder.add(upright(-0.25, 0.25, 0.38, 0.49, front, 0), PLATE, middle)
    builder.add(upright(-0.25, 0.25, form.deck - 0.46, form.deck - 0.35, rear, 0), REAR_PLATE, middle)
    builder.add(upright(-0.7 * half, 0.7 * half, 0.27, 0.42, rear, 0), DARK, middle)
    tall = 0.3 if form.height > 1.55 else 0.2
    for side in (-1, 1):
        lamp = upright(0.48 * half * side, 0.82 * half * side, high - 0.22, high - 0.04, front, 0.14)
        builder.add(lamp, HEADLIGHT, middle)
        top = form.deck - 0.14
        builder.add(upright(0.66 * half * side, 0.9 * half * side, top - tall, top, rear, -0.08), TAILLIGHT, middle)
