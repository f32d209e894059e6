"""What years do to a road: repairs, tar seams, cracks, manholes, damp."""

from __future__ import annotations

from functools import cache

import cv2
import numpy as np

from querydiff_core.street_scenes.image.noise import noise_tile

VARIANTS = 12
SCALE = 16
"""Pixels per metre."""
_LENGTH, _WIDTH = 1024, 512


@cache
def _wear_tile(variant: int) -> np.ndarray:
    """Return 64 x 32 metres of worn road, float32, 0 where nothing is; it repeats both ways."""
    rng = np.random.default_rng((29, variant))
    tile = np.zeros((_LENGTH, _WIDTH), np.float32)
    for _ in range(int(rng.integers(4, 22))):
        _repair(tile, rng)
    for _ in range(int(rng.integers(0, 5))):
        column = int(rng.integers(_WIDTH))
        cv2.line(tile, (column, 0), (column, _LENGTH), -float(rng.uniform(0.08, 0.3)), int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(0, 40))):
        steps = rng.normal(0, 9, (14, 2)) + rng.normal(0, 7, 2)
        crack = (rng.uniform(0, [_WIDTH, _LENGTH]) + steps.cumsum(axis=0)).astype(np.int32)
        cv2.polylines(tile, [crack], False, -float(rng.uniform(0.1, 0.35)), 1, cv2.LINE_AA)
    for _ in range(int(rng.integers(2, 9))):
        centre = (int(rng.integers(_WIDTH)), int(rng.integers(_LENGTH)))
        cv2.circle(tile, centre, 7, 0.12, -1)
        cv2.circle(tile, centre, 5, -float(rng.uniform(0.15, 0.45)), -1)
    if variant % 3 == 0:
        damp = cv2.resize(noise_tile(variant % 8, 256, 1.6), (_WIDTH, _LENGTH))
        tile -= np.clip(damp - rng.uniform(0.2, 1.2), 0, 0.4) * np.float32(rng.uniform(0.4, 1.0))
    return tile


def _repair(tile: np.ndarray, rng: np.random.Generator) -> None:
    """Lay a rectangle of other asphalt, its edges sealed with tar."""
    along = rng.random() < 0.5
    size = (rng.uniform(0.4, 2.5), rng.uniform(1, 14)) if along else (rng.uniform(1, 7), rng.uniform(0.4, 2.5))
    left, top = int(rng.integers(_WIDTH)), int(rng.integers(_LENGTH))
    corner = (left + int(size[0] * SCALE), top + int(size[1] * SCALE))
    cv2.rectangle(tile, (left, top), corner, float(rng.uniform(-0.28, 0.18)), -1)
    cv2.rectangle(tile, (left, top), corner, -float(rng.uniform(0.05, 0.4)), int(rng.integers(1, 3)))


def road_wear(variant: int, d: np.ndarray, z: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return how much lighter (above 0) or darker the road `variant` is at `d`, `z` metres `(h, w)`, as a share."""
    across, along = np.float32(SCALE / _WIDTH) * d + np.float32(0.5), np.float32(SCALE / _LENGTH) * z
    u, v = (across - np.floor(across)) * _WIDTH, (along - np.floor(along)) * _LENGTH
    wear = cv2.remap(_wear_tile(variant % VARIANTS), u.astype(np.float32), v.astype(np.float32), cv2.INTER_LINEAR)
    return np.asarray(wear * np.minimum(25.0 / np.maximum(depth, 1), 1.0))


def dappled_shade(variant: int, d: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return the shadow of crowns at `d`, `z` metres `(h, w)`: 0 in the sun to 1; some stretches have none."""
    coarse, fine = noise_tile(variant % 8, 256, 1.5), noise_tile(variant % 5, 256, 0.9)
    crown = coarse[(z * 4).astype(np.int32) % 256, (d * 4).astype(np.int32) % 256]
    leaves = fine[(z * 9).astype(np.int32) % 256, (d * 14).astype(np.int32) % 256]
    return np.asarray(np.clip(1.6 * (crown - 0.5) + 0.5 * leaves, 0, 1))
