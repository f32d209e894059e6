"""The fronts of buildings: walls, windows, shop fronts, dirt; a library of them, each drawn once."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from querydiff_core.street_scenes.image.noise import noise_patch
from querydiff_core.street_scenes.image.sprite import Sprite
from querydiff_core.street_scenes.things.wall_textures import masonry

FACADES = 48
SCALE = 24
"""Pixels per metre."""
STYLES = ("shops", "terrace", "offices", "houses")
FLOOR = 3.2


@dataclass(frozen=True)
class _Plan:
    floors: int
    bays: int
    bay: float
    ground: float
    height: float


@cache
def _plan(style: str, index: int) -> _Plan:
    rng = np.random.default_rng((40, STYLES.index(style), index))
    floors = int(rng.integers(1, 3)) if style == "houses" else int(rng.integers(2, 6))
    ground = 4.2 if style in ("shops", "offices") else 3.4
    height = ground + (floors - 1) * FLOOR + rng.uniform(0.5, 1.4)
    return _Plan(floors, int(rng.integers(2, 5)), float(rng.uniform(2.2, 4.2)), ground, float(height))


def facade_size(style: str, index: int) -> tuple[float, float]:
    """Return width and height of a front in metres."""
    plan = _plan(style, index)
    return plan.bays * plan.bay, plan.height


@cache
def facade(style: str, index: int, lit: bool) -> Sprite:
    """Return front `index` (0 to FACADES - 1) of a `style` in STYLES; `lit`: lamps burn behind some windows."""
    rng = np.random.default_rng((41, STYLES.index(style), index))
    plan = _plan(style, index)
    floors, bays, bay, ground = plan.floors, plan.bays, plan.bay, plan.ground
    painter = _FacadePainter(rng, bays * bay, plan.height, lit)
    if style in ("terrace", "shops") and rng.random() < 0.08:
        painter.darken(rng.uniform(0.2, 0.6))
    elif style == "offices" and rng.random() < 0.55:
        painter.curtain_wall(floors, bays)
    else:
        painter.windows(floors, bays, bay, ground)
    if style == "shops" or (style == "terrace" and rng.random() < 0.25):
        painter.shop_front(ground)
    else:
        painter.doors(bays, bay)
    return painter.finish()


class _FacadePainter:
    def __init__(self, rng: np.random.Generator, width: float, height: float, lit: bool) -> None:
        self.rng, self.width, self.height, self.lit = rng, width, height, lit
        self.shape = (int(height * SCALE), int(width * SCALE))
        self.color = masonry(rng, *self.shape)
        self.glow = np.zeros(self.shape, np.uint8)
        self.trim = np.array([206, 200, 190]) * rng.uniform(0.35, 1.1) * (1 + rng.uniform(-0.05, 0.05, 3))

    def box(self, x0: float, y0: float, x1: float, y1: float) -> tuple[slice, slice]:
        """Return the pixels of a rectangle given in metres, y up from the ground."""
        bottom = self.shape[0]
        rows = slice(max(bottom - int(y1 * SCALE), 0), max(bottom - int(y0 * SCALE), 0))
        return rows, slice(max(int(x0 * SCALE), 0), max(int(x1 * SCALE), 0))

    def fill(self, x0: float, y0: float, x1: float, y1: float, color: np.ndarray) -> None:
        """Fill a rectangle given in metres."""
        self.color[self.box(x0, y0, x1, y1)] = color

    def pane(self, x0: float, y0: float, x1: float, y1: float, light_share: float = 0.3, shop: bool = False) -> None:
        """Draw a pane of glass: by day it mirrors sky above roofs, by night a lit room shows; a `shop` is darker."""
        area = self.box(x0, y0, x1, y1)
        height, width = self.color[area].shape[:2]
        if height < 1 or width < 1:
            return
        rng = self.rng
        grid = rng.random((6, 5, 1)) + 0.04 * rng.standard_normal((6, 5, 3))
        picture = cv2.resize(grid.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        room = np.array([40, 42, 44]) * rng.uniform(0.25, 0.7 if shop else 1.5) * (0.5 + picture)
        roofs = height * rng.uniform(-0.1, 0.7) * (1 + 0.25 * np.repeat(rng.standard_normal(4), width // 4 + 1)[:width])
        mirrored = np.clip(roofs - np.arange(height)[:, None], 0, 1)[..., None]
        room += mirrored * np.array([150, 160, 172]) * (rng.uniform(0.03, 0.3) if shop else rng.uniform(0.1, 0.75))
        if not shop and rng.random() < 0.35:
            self._curtain(room)
        elif shop and rng.random() < 0.3:
            self._wares(room)
        if self.lit and rng.random() < light_share:
            room = np.array([255, 205, 140]) * rng.uniform(0.45, 1.0) * (0.55 + 0.6 * picture)
            self.glow[area] = 235
        self.color[area] = np.clip(room, 0, 255)

    def _curtain(self, room: np.ndarray) -> None:
        """Hang a blind or two curtains behind the pane `room` `(h, w, 3)`."""
        rng, (height, width) = self.rng, room.shape[:2]
        cloth = rng.uniform(90, 200) * (1 + rng.uniform(-0.06, 0.06, 3))
        if rng.random() < 0.5:
            room[: int(height * rng.uniform(0.2, 1.0))] = cloth
        else:
            drawn = max(int(width * rng.uniform(0.12, 0.35)), 1)
            room[:, :drawn] = room[:, -drawn:] = cloth * 0.85

    def _wares(self, room: np.ndarray) -> None:
        """Show a poster or a lit ceiling in the shop window `room` `(h, w, 3)`."""
        rng, (height, width) = self.rng, room.shape[:2]
        if rng.random() < 0.5:
            top, left = int(height * rng.uniform(0.1, 0.5)), int(width * rng.uniform(0.1, 0.6))
            rows, columns = slice(top, top + height // 4), slice(left, left + width // 4)
            room[rows, columns] = rng.uniform(60, 200, 3) * 0.5 + rng.uniform(40, 100)
        else:
            room[: max(height // 12, 1)] += np.array([120, 112, 92]) * rng.uniform(0.3, 1.0)

    def windows(self, floors: int, bays: int, bay: float, ground: float) -> None:
        """Draw one window for each bay and floor, all of one kind."""
        rng = self.rng
        wide, high = rng.uniform(0.35, 0.75) * bay, rng.uniform(1.2, 2.2)
        sill, frame = rng.uniform(0.6, 1.0), rng.uniform(0.05, 0.14)
        panes, arched = int(rng.integers(1, 4)), rng.random() < 0.3
        balcony = rng.random() < 0.15
        for floor in range(floors):
            base = sill if floor == 0 else ground + (floor - 1) * FLOOR + sill
            for column in range(bays):
                x = (column + 0.5) * bay - wide / 2
                self._window(x, base, wide, high, frame, panes)
                if arched:
                    self.fill(x - 0.2, base + high + frame, x + wide + 0.2, base + high + frame + 0.22, self.trim * 0.9)
            if balcony and floor:
                self._balcony(base - 0.1)
        if rng.random() < 0.6:
            for floor in range(1, floors + 1):
                y = ground + (floor - 1) * FLOOR
                self.fill(0, y - 0.08, self.width, y + 0.10, self.trim * 0.85)

    def darken(self, tone: float) -> None:
        """Leave a plain dark wall above the ground floor, as party walls and warehouses have."""
        self.color *= tone

    def _window(self, x: float, y: float, wide: float, high: float, frame: float, panes: int) -> None:
        self.fill(x - frame, y - frame, x + wide + frame, y + high + frame, self.trim)
        self.fill(x, y, x + wide, y + high, self.trim * 0.55)
        step = wide / panes
        for pane in range(panes):
            self.pane(x + pane * step, y, x + (pane + 1) * step - 0.06, y + high * 0.48, 0.35)
            self.pane(x + pane * step, y + high * 0.52, x + (pane + 1) * step - 0.06, y + high, 0.35)
        shadow = self.box(x - 0.02, y + high - 0.12, x + wide + 0.02, y + high + 0.02)
        self.color[shadow] *= 0.5
        self.fill(x - 0.15, y - 0.16, x + wide + 0.15, y - 0.03, self.trim * 1.08)
        self.fill(x - 0.15, y - 0.26, x + wide + 0.15, y - 0.16, self.trim * 0.35)

    def _balcony(self, y: float) -> None:
        area = self.box(0.3, y, self.width - 0.3, y + 1.0)
        self.color[area] = self.color[area] * 0.75
        self.color[area][:, ::4] *= 0.6

    def curtain_wall(self, floors: int, bays: int) -> None:
        """Draw a front of glass between thin bars."""
        columns = bays * int(self.rng.integers(1, 4))
        bar = self.trim * self.rng.uniform(0.3, 1.0)
        self.fill(0, 0, self.width, self.height, bar)
        rise, run = self.height / floors, self.width / columns
        for floor in range(floors):
            for column in range(columns):
                x, y = column * run, floor * rise
                self.pane(x + 0.06, y + 0.5, x + run - 0.06, y + rise - 0.08, 0.4)

    def shop_front(self, ground: float) -> None:
        """Draw a shop: dark frames, large reflecting panes, a sign across, sometimes an awning."""
        rng = self.rng
        frame = np.array([[28, 30, 32], [52, 36, 30], [24, 44, 38], [120, 24, 28], [190, 188, 182], [30, 38, 70]])
        paint = frame[rng.integers(len(frame))] * rng.uniform(0.7, 1.3)
        self.fill(0, 0, self.width, ground, paint)
        self.fill(0, ground - 0.1, self.width, ground + 0.06, self.trim * 0.8)
        self.fill(0, ground - 0.18, self.width, ground - 0.1, paint * 0.45)
        head = ground - rng.uniform(0.9, 1.4)
        panes = max(int(self.width / rng.uniform(1.4, 2.8)), 1)
        door = int(rng.integers(panes))
        run = self.width / panes
        stall = rng.uniform(0.2, 0.8)
        for pane in range(panes):
            low = 0.08 if pane == door else stall
            if pane == door:
                self.fill(pane * run, 0, (pane + 1) * run, head, paint * 0.35)
            self.pane(pane * run + 0.1, low, (pane + 1) * run - 0.1, head - 0.1, 0.85, shop=True)
        self._sign(head, ground)
        if rng.random() < 0.25:
            self._awning(head)

    def _sign(self, low: float, high: float) -> None:
        rng = self.rng
        board = rng.uniform(15, 225) + rng.uniform(0, 1.0) ** 2 * rng.uniform(-90, 90, 3)
        board = np.clip(board * rng.uniform(0.4, 1.0), 8, 235)
        self.fill(0.15, low + 0.05, self.width - 0.15, high - 0.12, board)
        ink = 240 if board.mean() < 120 else 25
        x = 0.15 + 0.25 * self.width * rng.random()
        while x < self.width * rng.uniform(0.6, 0.95):
            letter = rng.uniform(0.15, 0.35)
            middle, tall = (low + high) / 2, rng.uniform(0.12, 0.26)
            self.fill(x, middle - tall, x + letter * 0.35, middle + tall, np.array([ink] * 3))
            if rng.random() < 0.7:
                bar = middle + rng.choice([-1, 0, 1]) * tall * 0.8
                self.fill(x, bar - 0.05, x + letter * 0.8, bar + 0.05, np.array([ink] * 3))
            x += letter + rng.uniform(0.03, 0.12)
        if self.lit and rng.random() < 0.6:
            self.glow[self.box(0.15, low + 0.05, self.width - 0.15, high - 0.12)] = 200

    def _awning(self, head: float) -> None:
        color = self.rng.integers(30, 220, 3)
        area = self.box(0.2, head - 0.7, self.width - 0.2, head + 0.1)
        self.color[area] = color
        self.color[area][:, (np.arange(self.color[area].shape[1]) // 8) % 2 == 0] = self.trim
        self.glow[area] = 0

    def doors(self, bays: int, bay: float) -> None:
        """Draw a door or two."""
        for column in self.rng.permutation(bays)[: int(self.rng.integers(1, 3))]:
            x = (column + 0.5) * bay - 0.5
            self.fill(x - 0.15, 0, x + 1.15, 2.5, self.trim * 0.9)
            self.fill(x, 0, x + 1.0, 2.2, (self.rng.uniform(20, 130) + self.rng.uniform(-18, 18, 3)).clip(8))

    def finish(self) -> Sprite:
        """Add a cornice, dirt and streaks, and return the texture."""
        rng, (height, width) = self.rng, self.shape
        eaves = self.height - rng.uniform(0.15, 0.5)
        self.color[self.box(0, eaves - 0.2, self.width, eaves)] *= 0.6
        self.fill(0, eaves, self.width, self.height, self.trim * rng.uniform(0.5, 1.0))
        if rng.random() < 0.5:
            x = rng.choice([0.1, self.width - 0.25])
            self.color[self.box(x, 0, x + 0.1, self.height)] *= rng.uniform(0.55, 0.85)
        dirt = noise_patch(rng, height, width, 1.2)
        streaks = cv2.resize(noise_patch(rng, 16, width, 0.6), (width, height), interpolation=cv2.INTER_LINEAR)
        tone = 1 + rng.uniform(0.05, 0.14) * dirt + rng.uniform(0.03, 0.1) * streaks
        tone *= np.linspace(1.06, 0.9, height)[:, None]
        tone = np.where(self.glow > 0, 1.0, tone)
        color = np.clip(self.color * tone[..., None], 0, 255).astype(np.uint8)
        return Sprite.opaque(color, self.glow)
