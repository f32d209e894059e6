"""What of the own car is in the picture: the bonnet, the dashboard, the edges and the reflections of the windscreen."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.street_scenes.image.labels import VOID
from querydiff_core.street_scenes.image.noise import noise_patch


def cover_with_bonnet(picture: np.ndarray, labels: np.ndarray, share: float, seed: int, light: float) -> None:
    """Hide the lowest `share` of the height behind the own car's bonnet, unlabelled; `light`: 1 by day, less at night.

    `picture`: float32 RGB `(H, W, 3)`, `labels`: uint8 `(H, W)`, both in place.
    """
    height, width = labels.shape
    rng = np.random.default_rng((seed, 12))
    x = np.linspace(-1, 1, width) - rng.uniform(-0.8, 0.8)  # the camera need not hang in the middle
    edge = height * (1 - share * np.clip(1 + rng.uniform(-0.5, 0.5) * x - 0.45 * x**4, 0, 1.5))
    rows = np.arange(height)[:, None]
    hidden = rows >= edge
    gloss = np.clip(1.25 - 2.0 * (rows - edge) / height + 0.15 * np.cos(3 * x), 0.5, 1.4)
    paint = rng.uniform(5, 120) * light * gloss
    if rng.random() < 0.4:  # the sky along its edge
        paint = paint + rng.uniform(40, 200) * light**0.5 * np.exp(-(rows - edge) / (rng.uniform(0.006, 0.03) * height))
    if rng.random() < 0.6:  # and in patches
        patch = np.exp(-(((x - rng.uniform(-1, 1)) / rng.uniform(0.2, 0.7)) ** 2))
        patch = patch * np.exp(
            -np.abs(rows - edge - rng.uniform(0, 0.04) * height) / (rng.uniform(0.01, 0.05) * height)
        )
        paint = paint + rng.uniform(60, 260) * light**0.5 * patch
    picture[hidden] = paint[hidden][:, None]
    labels[hidden] = VOID


def look_through_windscreen(picture: np.ndarray, labels: np.ndarray, seed: int, night: bool) -> None:
    """Add what a camera behind a windscreen sees of the car, in half of the scenes, in place; shapes as above.

    Opaque things are unlabelled: a dashboard with things on it, the edge of the windscreen, a mirror. Reflections of
    the dashboard veil the picture and leave the labels.
    """
    rng = np.random.default_rng((seed, 31))
    height, width = labels.shape
    if rng.random() < 0.35:
        _reflect_dashboard(picture, rng, 0.25 if night else 1.0)
    stencil = np.zeros((height, width), np.uint8)

    def hide(points: np.ndarray) -> None:
        """Mark the polygon of `points` `(N, 2)`, shares of width and height."""
        cv2.fillPoly(stencil, [np.round(points * [width, height]).astype(np.int32)], 1)

    if rng.random() < 0.22:  # a dashboard, on which a telephone or a box may stand
        x = np.linspace(-0.02, 1.02, 12)
        top = 1 - rng.uniform(0.03, 0.16) * (1 + rng.uniform(-0.6, 0.6) * (x - 0.5)) + rng.normal(0, 0.006, 12)
        hide(np.concatenate([np.column_stack([x, top]), [[1.02, 1.1], [-0.02, 1.1]]]))
        for _ in range(int(rng.integers(0, 3))):
            left, wide, tall = rng.uniform(0, 0.9), rng.uniform(0.03, 0.2), rng.uniform(0.02, 0.14)
            low = float(np.interp(left, x, top)) + 0.03
            hide(np.array([[left, low], [left + wide, low], [left + wide, low - tall], [left, low - tall]]))
    if rng.random() < 0.1:  # the edge of the windscreen, or a mirror
        corner, wide, tall = int(rng.integers(2)), rng.uniform(0.05, 0.3), rng.uniform(0.06, 0.4)
        hide(np.array([[corner, 0], [abs(corner - wide), 0], [corner, tall]]))
    if rng.random() < 0.05:
        left, wide, tall = rng.uniform(0.2, 0.7), rng.uniform(0.1, 0.25), rng.uniform(0.05, 0.16)
        hide(np.array([[left, 0], [left + wide, 0], [left + 0.95 * wide, tall], [left + 0.05 * wide, tall]]))
    hidden = stencil > 0
    if hidden.any():
        grain = noise_patch(rng, height, width, 1.2)[hidden]
        tone = rng.uniform(6, 60) * (0.3 if night else 1.0) * (1 + rng.uniform(-0.1, 0.1, 3))
        picture[hidden] = tone * (1 + 0.2 * grain[:, None])
        labels[hidden] = VOID


def _reflect_dashboard(picture: np.ndarray, rng: np.random.Generator, light: float) -> None:
    """Lay a pale, blurred picture of the dashboard over the lower part of `picture`."""
    height, width = picture.shape[:2]
    veil = np.zeros((height, width), np.float32)
    first = int(height * rng.uniform(0.2, 0.7))
    fall = np.linspace(0, 1, height - first, dtype=np.float32)[:, None] ** rng.uniform(0.5, 2)
    veil[first:] = fall * (0.7 + 0.3 * noise_patch(rng, height - first, width, 1.5))
    for _ in range(int(rng.integers(0, 5))):  # papers, vents
        points = rng.uniform([0, 0.5], [1, 1.1], 2) + rng.uniform(-0.14, 0.14, (4, 2)) * [1, 0.5]
        patch = np.round(points * [width, height]).astype(np.int32)
        cv2.fillConvexPoly(veil, cv2.convexHull(patch), float(rng.uniform(-0.4, 1.6)), cv2.LINE_AA)
    soft = cv2.GaussianBlur(np.maximum(veil, 0), (0, 0), rng.uniform(1, 4) * height / 256)
    picture += np.float32(rng.uniform(8, 45) * light) * soft[..., None]
