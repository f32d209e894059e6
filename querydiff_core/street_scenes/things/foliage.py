"""Trees, bushes and hedges."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import cv2
import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import NOTHING, VEGETATION
from querydiff_core.street_scenes.image.noise import noise_patch
from querydiff_core.street_scenes.image.sprite import Brush, Sprite, spread
from querydiff_core.street_scenes.weather import Weather

KINDS = 120
"""How many trees and bushes there are; the first BUSHES of them are bushes."""
BUSHES = 16
GREENS = np.array([[62, 84, 38], [84, 102, 48], [48, 70, 40], [104, 108, 52], [120, 96, 48], [72, 92, 60]], np.float32)


@dataclass(frozen=True)
class Tree:
    """A tree or bush of `kind` (0 to KINDS - 1) at `foot` `(3,)`, `height` metres tall."""

    foot: np.ndarray
    height: float
    kind: int

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Draw it facing the camera."""
        sprite = tree_sprite(self.kind, weather.snow > 0)
        aspect = sprite.alpha.shape[1] / sprite.alpha.shape[0]
        canvas.sprite(self.foot, (self.height * aspect, self.height), sprite, weather.brightness)


@cache
def tree_sprite(kind: int, winter: bool) -> Sprite:
    """Return the picture of tree `kind`: some are bare, all but conifers are in `winter`."""
    rng = np.random.default_rng((31, kind))
    if kind < BUSHES:
        return _leafy(rng, aspect=1.4, trunk=0.0, crowns=9)
    form = rng.random()
    if form < 0.13:
        return _conifer(rng)
    if form < 0.55 or winter:
        return _bare(rng)
    return _leafy(rng, aspect=float(rng.uniform(0.65, 1.1)), trunk=float(rng.uniform(0.18, 0.42)), crowns=12)


def _leafy(rng: np.random.Generator, aspect: float, trunk: float, crowns: int) -> Sprite:
    height = 224
    width = int(height * aspect)
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    field = np.full((height, width), -9.0, np.float32)
    light = np.zeros((height, width), np.float32)
    crown_bottom = height * (1 - trunk)
    for _ in range(crowns):
        radius = rng.uniform(0.14, 0.26) * min(width, crown_bottom)
        cx = rng.uniform(radius, width - radius)
        cy = rng.uniform(radius * 0.9, max(crown_bottom - 0.7 * radius, radius))
        blob = 1 - np.hypot(x - cx, y - cy) / radius
        light = np.where(blob > field, (cy - y) / radius * 0.5 + (cx - x) / radius * 0.2, light)
        field = np.maximum(field, blob)
    leaves = noise_patch(rng, height, width, 0.7)
    alpha = np.where(field + 0.16 * leaves + 0.06 > 0, 255, 0).astype(np.uint8)
    green = GREENS[rng.integers(len(GREENS))] * rng.uniform(0.6, 1.25)
    tone = 1 + 0.32 * light + 0.26 * noise_patch(rng, height, width, 0.3) + 0.15 * leaves
    rgb = green * np.clip(tone, 0.15, 2.2)[..., None] * (1 + 0.06 * noise_patch(rng, height, width, 1))[..., None]
    rgb = np.clip(rgb, 0, 255).astype(np.uint8)
    if trunk:
        bark = _bark(rng)
        stem = np.zeros_like(alpha)
        thick = max(int(width * rng.uniform(0.03, 0.06)), 3)
        middle = width // 2
        cv2.line(stem, (middle, height), (middle + int(rng.integers(-6, 7)), int(crown_bottom * 0.7)), 255, thick)
        under = (stem > 0) & (alpha == 0)
        rgb[under] = np.clip(bark * (1 + 0.25 * leaves[under])[..., None], 0, 255).astype(np.uint8)
        alpha[under] = 255
    return _tree(rgb, alpha, 5)


def _conifer(rng: np.random.Generator) -> Sprite:
    height, width = 224, int(224 * rng.uniform(0.35, 0.6))
    y, x = np.mgrid[0:height, 0:width].astype(np.float32)
    layers = rng.integers(5, 10)
    reach = (y / height) ** 0.85 * (0.8 + 0.2 * np.mod(y / height * layers, 1)) * width / 2
    leaves = noise_patch(rng, height, width, 0.6)
    inside = np.abs(x - width / 2) + 3.0 * leaves < reach
    stem = (y >= height * 0.95) & (np.abs(x - width / 2) < 0.04 * width)
    alpha = np.where(stem | (inside & (y < height * 0.95)), 255, 0).astype(np.uint8)
    green = np.array([42, 56, 40], np.float32) * rng.uniform(0.55, 1.2)
    tone = 1 + 0.3 * noise_patch(rng, height, width, 0.3) + 0.2 * (np.mod(y / height * layers, 1) < 0.4)
    paint = np.where(stem[..., None], _bark(rng), green)
    rgb = np.clip(paint * np.clip(tone, 0.2, 2)[..., None], 0, 255).astype(np.uint8)
    return _tree(rgb, alpha, 5)


def _bare(rng: np.random.Generator) -> Sprite:
    brush = Brush(8.0, 9.0, 25.0)
    bark = _bark(rng)
    _branch(brush, rng, np.array([0.0, 0.0]), np.pi / 2, rng.uniform(2.0, 3.0), rng.uniform(0.14, 0.3), bark, 0)
    sprite = brush.finish(rng, folds=0.2)
    top = int(np.argmax(sprite.alpha.max(axis=1) > 0))
    color, alpha = sprite.color[top:, :, :3], sprite.alpha[top:].copy()
    _add_twigs(color, alpha, bark, rng)
    if rng.random() < 0.18:
        _add_ivy(color, alpha, rng)
    return _tree(color, alpha, 21)


def _add_twigs(color: np.ndarray, alpha: np.ndarray, bark: np.ndarray, rng: np.random.Generator) -> None:
    """Fill the crown with twigs finer than a pixel: a broken veil that light comes through."""
    height, width = alpha.shape
    near = cv2.blur((alpha > 60).astype(np.float32), (25, 25))
    grain = noise_patch(rng, height, width, 0.4)
    veil = np.clip(3.2 * near * (0.45 + 0.45 * grain), 0, rng.uniform(0.25, 0.7)) * 255
    veil *= np.clip((0.78 - np.arange(height) / height) * 5, 0, 1)[:, None]
    thin = alpha < veil
    tone = bark * rng.uniform(0.7, 1.2) * np.array([1.1, 1.0, 0.85])
    color[thin] = np.clip(tone * (1 + 0.2 * grain[thin])[:, None], 0, 255).astype(np.uint8)
    alpha[thin] = veil[thin].astype(np.uint8)


def _add_ivy(color: np.ndarray, alpha: np.ndarray, rng: np.random.Generator) -> None:
    """Grow ivy around the trunk and the lower boughs."""
    height, width = alpha.shape
    wood = cv2.dilate((alpha > 200).astype(np.uint8), np.ones((9, 9), np.uint8)) > 0
    leaves = noise_patch(rng, height, width, 0.6)
    ragged = rng.uniform(0.4, 0.75) + 0.06 * noise_patch(rng, height, width, 1.2)
    covered = wood & (leaves > -0.6) & (np.arange(height)[:, None] > ragged * height)
    covered &= np.abs(np.arange(width) - width / 2) < (0.12 + 0.02 * leaves) * width
    green = np.array([44, 60, 34]) * rng.uniform(0.6, 1.2)
    color[covered] = np.clip(green * (1 + 0.3 * leaves[covered])[:, None], 0, 255).astype(np.uint8)
    alpha[covered] = 255


def _branch(
    brush: Brush,
    rng: np.random.Generator,
    start: np.ndarray,
    angle: float,
    length: float,
    width: float,
    bark: np.ndarray,
    order: int,
) -> None:
    end = start + length * np.array([np.cos(angle), np.sin(angle)])
    brush.line([start, end], width, bark * (1 + 0.06 * order), VEGETATION)
    if order >= 6:
        return
    for _ in range(4 if order < 2 else 3):
        turn = rng.normal(0, 0.6)
        shorter = length * rng.uniform(0.5, 0.8)
        origin = start + (end - start) * rng.uniform(0.45, 1.0)
        upward = angle + turn + 0.1 * (np.pi / 2 - angle)
        _branch(brush, rng, origin, upward, shorter, max(width * rng.uniform(0.4, 0.65), 0.012), bark, order + 1)


def _bark(rng: np.random.Generator) -> np.ndarray:
    return np.array([78, 68, 58], np.float32) * rng.uniform(0.55, 1.25) * (1 + rng.uniform(-0.08, 0.08, 3))


def _tree(rgb: np.ndarray, alpha: np.ndarray, close: int) -> Sprite:
    """Label the complete outline as an annotator would: gaps between twigs belong to the tree."""
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (close, close))
    padded = cv2.copyMakeBorder(alpha, close, close, close, close, cv2.BORDER_CONSTANT)
    outline = cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel)[close:-close, close:-close]
    labels = np.where(outline > 127, VEGETATION, NOTHING).astype(np.uint8)
    color = spread(np.dstack([rgb, np.zeros_like(alpha)]), alpha)
    return Sprite(np.ascontiguousarray(color), alpha, labels)


@cache
def hedge_texture(kind: int) -> Sprite:
    """Return a piece of hedge with a ragged top, which repeats sideways."""
    rng = np.random.default_rng((37, kind))
    size = 256
    rough = noise_patch(rng, size, size, 0.8)
    top = 14 + 7 * rough[40] + 4 * rough[90]
    top += (top[::-1] - top) * np.linspace(0, 1, size) * 0.5
    rows = np.arange(size)[:, None]
    alpha = np.where(rows + 4 * rough > top, 255, 0).astype(np.uint8)
    green = GREENS[rng.integers(len(GREENS))] * rng.uniform(0.55, 1.1)
    tone = 1.15 - 0.4 * rows / size + 0.3 * noise_patch(rng, size, size, 0.3) + 0.12 * rough
    rgb = np.clip(green * np.clip(tone, 0.15, 2)[..., None], 0, 255).astype(np.uint8)
    return _tree(rgb, alpha, 5)
