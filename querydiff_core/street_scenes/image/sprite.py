"""Small painted pieces with transparency and labels, and the brush that makes them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import cv2
import numpy as np

from querydiff_core.street_scenes.image.labels import NOTHING
from querydiff_core.street_scenes.image.noise import noise_patch

Vector = Sequence[float] | np.ndarray
"""A point in metres, radii, or a colour: RGB, or RGB and emission, 0 to 255."""
Points = Sequence[Vector] | np.ndarray


@dataclass(frozen=True)
class Sprite:
    """`color` uint8 `(h, w, 4)` RGB and emission, `alpha` uint8 `(h, w)`, `labels` uint8 `(h, w)` with NOTHING outside.

    `solid`: it covers everything, so that alpha and labels need not be read.
    """

    color: np.ndarray
    alpha: np.ndarray
    labels: np.ndarray
    solid: bool = False

    @staticmethod
    def opaque(color: np.ndarray, emission: np.ndarray | None = None) -> Sprite:
        """Make a texture of RGB uint8 `(h, w, 3)` that covers everything."""
        height, width = color.shape[:2]
        glow = np.zeros((height, width), np.uint8) if emission is None else emission
        full = np.full((height, width), 255, np.uint8)
        return Sprite(np.dstack([color, glow]), full, full, solid=True)

    @cached_property
    def mean(self) -> np.ndarray:
        """Return its mean colour, RGB and emission, float64 `(4,)`."""
        return self.color.reshape(-1, 4).mean(axis=0)

    @cached_property
    def half(self) -> Sprite:
        """Return the sprite at half its size, kept for the next time."""
        height, width = self.alpha.shape
        return self._scaled((max(width // 2, 1), max(height // 2, 1)), cv2.INTER_AREA)

    def resized(self, size: tuple[int, int]) -> Sprite:
        """Return the sprite at `size` (width, height) pixels, smaller than it is."""
        height, width = self.alpha.shape
        if width >= 2 * size[0] and height >= 2 * size[1]:
            return self.half.resized(size)
        return self._scaled(size, cv2.INTER_LINEAR)

    def reduced(self, size: tuple[int, int]) -> Sprite:
        """Return the sprite halved while it stays at least `size` (width, height) pixels large, or one side does."""
        height, width = self.alpha.shape
        return self.half.reduced(size) if width >= 2 * size[0] and height >= 2 * size[1] else self

    def _scaled(self, size: tuple[int, int], interpolation: int) -> Sprite:
        color = cv2.resize(self.color, size, interpolation=interpolation)
        if self.solid:
            full = np.full(size[::-1], 255, np.uint8)
            return Sprite(color, full, full, solid=True)
        alpha = cv2.resize(self.alpha, size, interpolation=interpolation)
        return Sprite(
            color, alpha, largest_shares(self.labels, partial(cv2.resize, dsize=size, interpolation=interpolation))
        )

    def rimmed(self, across: int, up: int) -> Sprite:
        """Return the sprite with `across` copies of its outermost pixels on both sides, and `up` above and below."""
        rim = partial(cv2.copyMakeBorder, top=up, bottom=up, left=across, right=across, borderType=cv2.BORDER_REPLICATE)
        return Sprite(rim(self.color), rim(self.alpha), rim(self.labels), self.solid) if across or up else self

    def piece(self, size: tuple[int, int], box: tuple[int, int, int, int]) -> Sprite:
        """Return the part `box` (left, top, right, bottom) of the sprite drawn at `size` (width, height) pixels."""
        left, top, right, bottom = box
        height, width = self.alpha.shape
        if size[0] <= width or size[1] <= height:
            small = self.resized((min(size[0], 4096), min(size[1], 4096)))
            part = slice(top, bottom), slice(left, right)
            return Sprite(small.color[part], small.alpha[part], small.labels[part])
        scale = np.array([[size[0] / width, 0, -left], [0, size[1] / height, -top]], np.float64)
        scale[:, 2] += 0.5 * (np.array([size[0] / width, size[1] / height]) - 1)
        target = (right - left, bottom - top)
        warp = partial(cv2.warpAffine, M=scale, dsize=target, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return Sprite(warp(self.color), warp(self.alpha), largest_shares(self.labels, warp))


def largest_shares(labels: np.ndarray, scaled: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Scale labels `(h, w)` as paint is scaled, so that they lie where it does.

    A pixel that is half covered gets the label with the largest share of it, any other NOTHING. `scaled` takes a mask
    of 0 and 255.
    """

    def share(mask: np.ndarray) -> np.ndarray:
        return scaled(np.where(mask, np.uint8(255), np.uint8(0)))

    kinds = np.unique(labels[labels != NOTHING])
    covered = share(labels != NOTHING) > 126
    if len(kinds) < 2:
        return np.where(covered, kinds[0] if len(kinds) else NOTHING, NOTHING).astype(np.uint8)
    largest = np.argmax([share(labels == kind) for kind in kinds], axis=0)
    return np.where(covered, kinds[largest], NOTHING).astype(np.uint8)


class Brush:
    """Paints a sprite in metres: x to the right of its middle, y up from its lower edge."""

    OVERSAMPLING = 2

    def __init__(self, width: float, height: float, pixels_per_metre: float) -> None:
        self.scale = pixels_per_metre * self.OVERSAMPLING
        shape = (max(int(height * self.scale), 8) // 2 * 2, max(int(width * self.scale), 8) // 2 * 2)
        self.color = np.zeros((*shape, 4), np.uint8)
        self.labels = np.full(shape, NOTHING, np.uint8)

    def _pixels(self, points: Points) -> np.ndarray:
        height, width = self.labels.shape
        grid = np.asarray(points, np.float64) * [self.scale, -self.scale] + [width / 2, height]
        return (grid * 16).astype(np.int32)

    def polygon(self, points: Points, color: Vector, label: int) -> None:
        """Fill a polygon of `(N, 2)` metres."""
        pixels = self._pixels(points)
        cv2.fillPoly(self.color, [pixels], _rgbe(color), cv2.LINE_8, 4)
        cv2.fillPoly(self.labels, [pixels], label, cv2.LINE_8, 4)

    def line(self, points: Points, width: float, color: Vector, label: int) -> None:
        """Draw a line with round joints, `width` metres thick."""
        pixels = self._pixels(points)
        thickness = max(round(width * self.scale), 1)
        cv2.polylines(self.color, [pixels], False, _rgbe(color), thickness, cv2.LINE_8, 4)
        cv2.polylines(self.labels, [pixels], False, label, thickness, cv2.LINE_8, 4)

    def ellipse(self, centre: Vector, radii: Vector, color: Vector, label: int, thickness: float = 0) -> None:
        """Draw an ellipse with `radii` (x, y) metres: filled, or a ring `thickness` metres thick."""
        x, y = (int(v) for v in self._pixels([centre])[0])
        axes = (int(radii[0] * self.scale * 16), int(radii[1] * self.scale * 16))
        stroke = max(round(thickness * self.scale), 1) if thickness else -1
        cv2.ellipse(self.color, (x, y), axes, 0, 0, 360, _rgbe(color), stroke, cv2.LINE_8, 4)
        cv2.ellipse(self.labels, (x, y), axes, 0, 0, 360, label, stroke, cv2.LINE_8, 4)

    def finish(self, rng: np.random.Generator, folds: float = 0.12, close: float = 0.0) -> Sprite:
        """Shade, shrink and return the sprite; `close` metres wide holes keep the label of what surrounds them."""
        height, width = self.labels.shape
        shading = 1.0 + folds * noise_patch(rng, height, width, 1.3)
        left, right = rng.permutation([0.82, 1.12])
        light = np.linspace(left, right, width, dtype=np.float32)
        rgb = np.clip(self.color[..., :3] * (shading * light)[..., None], 0, 255).astype(np.uint8)
        alpha = np.where(self.labels == NOTHING, 0, 255).astype(np.uint8)
        color = spread(np.dstack([rgb, self.color[..., 3]]), alpha)
        size = (width // self.OVERSAMPLING, height // self.OVERSAMPLING)
        shrink = partial(cv2.resize, dsize=size, interpolation=cv2.INTER_AREA)
        return Sprite(shrink(color), shrink(alpha), largest_shares(self._closed(close), shrink))

    def _closed(self, width: float) -> np.ndarray:
        labels = self.labels
        if width <= 0:
            return labels
        reach = max(round(width * self.scale) | 1, 3)
        kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (reach, reach))
        closed = labels.copy()
        for label in np.unique(labels[labels != NOTHING]):
            mask = np.pad((labels == label).astype(np.uint8), reach)
            filled = cv2.morphologyEx(mask, cv2.MORPH_CLOSE, kernel)[reach:-reach, reach:-reach]
            closed[(filled > 0) & (closed == NOTHING)] = label
        return closed


def spread(color: np.ndarray, alpha: np.ndarray) -> np.ndarray:
    """Continue the colours past the edge of what is painted, so that no dark rim shows when it is scaled."""
    wide = cv2.dilate(color, np.ones((5, 5), np.uint8))
    return np.where((alpha > 0)[..., None], color, wide)


def palette(colors: str) -> np.ndarray:
    """Return the colours "rrggbb rrggbb ..." as float64 `(N, 3)`, 0 to 255."""
    return np.array([tuple(bytes.fromhex(color)) for color in colors.split()], np.float64)


def _rgbe(color: Vector) -> tuple[float, float, float, float]:
    red, green, blue = (min(max(float(c), 0.0), 255.0) for c in color[:3])
    return red, green, blue, float(color[3]) if len(color) > 3 else 0.0
