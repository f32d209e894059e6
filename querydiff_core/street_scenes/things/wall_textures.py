"""Brick, stone, plaster, concrete, roof tiles, railings and other things that repeat."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from querydiff_core.street_scenes.image.labels import FENCE, NOTHING
from querydiff_core.street_scenes.image.noise import noise_patch
from querydiff_core.street_scenes.image.sprite import Sprite, palette

BRICKS = np.array([[142, 84, 66], [120, 70, 58], [168, 132, 96], [186, 164, 128], [104, 84, 74], [150, 110, 84]])
PLASTERS = palette("cec4b0 dcd6cc baa484 c4967a a4acb0 d6be8c 807a74 aca28c 98948e 68625a")


def masonry(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Return a wall of brick, stone or plaster, float32 `(height, width, 3)`, 0 to 255."""
    kind = rng.random()
    if kind < 0.42:
        base, pattern = BRICKS[rng.integers(len(BRICKS))], _courses(rng, height, width, 3, 7, 0.14)
    elif kind < 0.62:
        base, pattern = PLASTERS[rng.integers(len(PLASTERS))], _courses(rng, height, width, 10, 22, 0.08)
    else:
        base, pattern = PLASTERS[rng.integers(len(PLASTERS))], np.ones((height, width))
    tint = rng.uniform(0.5, 1.3) * (1 + rng.uniform(-0.06, 0.06, 3))
    grain = (
        1 + 0.05 * noise_patch(rng, height, width, 0.2) + rng.uniform(0.04, 0.1) * noise_patch(rng, height, width, 1.2)
    )
    grain *= 1 + rng.uniform(0, 0.1) * noise_patch(rng, height, width, 2.0)
    return np.clip((base * tint) * (pattern * grain)[..., None], 0, 255).astype(np.float32)


def _courses(rng: np.random.Generator, height: int, width: int, rise: int, run: int, spread: float) -> np.ndarray:
    """Return bricks in courses as a factor, each brick with its own shade, joints lighter or darker."""
    rows, columns = height // rise + 1, width // run + 2
    shades = 1 + spread * rng.standard_normal((rows, columns))
    pattern = np.kron(shades, np.ones((rise, run)))
    joint = rng.choice([0.8, 1.15])
    if rise > 4:
        pattern[::rise] *= joint
    for row in range(1, rows, 2):
        pattern[row * rise : (row + 1) * rise] = np.roll(pattern[row * rise : (row + 1) * rise], run // 2, axis=1)
    return pattern[:height, :width]


@lru_cache(maxsize=64)
def end_wall_texture(index: int) -> Sprite:
    """Return 4 x 2 metres of a house's end wall."""
    return Sprite.opaque(masonry(np.random.default_rng((47, index)), 96, 192).astype(np.uint8))


@lru_cache(maxsize=64)
def wall_texture(index: int) -> Sprite:
    """Return 4 x 2 metres of garden wall with a coping."""
    rng = np.random.default_rng((43, index))
    color = masonry(rng, 96, 192)
    color[:6] = np.array([150, 146, 138]) * rng.uniform(0.6, 1.2)
    color[6:9] *= 0.6
    color[-14:] *= np.linspace(1, 0.7, 14)[:, None, None]
    if rng.random() < 0.2:
        letters = np.zeros(color.shape[:2], np.uint8)
        cv2.putText(letters, "".join(rng.choice(list("ABEKORSTZ"), 5)), (30, 62), cv2.FONT_HERSHEY_TRIPLEX, 1.6, 255, 4)
        color[letters > 0] = rng.integers(0, 255, 3)
    return Sprite.opaque(np.clip(color, 0, 255).astype(np.uint8))


@lru_cache(maxsize=32)
def roof_texture(index: int) -> Sprite:
    """Return a piece of tiled or slated roof."""
    rng = np.random.default_rng((47, index))
    base = np.array([[118, 62, 48], [72, 72, 78], [96, 84, 76], [134, 84, 62]])[rng.integers(4)] * rng.uniform(0.7, 1.2)
    tiles = _courses(rng, 128, 128, 6, 6, 0.12)
    tiles[::6] *= 0.7
    grain = 1 + 0.08 * noise_patch(rng, 128, 128, 1.0)
    return Sprite.opaque(np.clip(base * (tiles * grain)[..., None], 0, 255).astype(np.uint8))


@lru_cache(maxsize=32)
def fence_texture(index: int) -> Sprite:
    """Return 2 metres of fence: railings, planks, mesh or a guard rail; its gaps belong to it."""
    rng = np.random.default_rng((53, index))
    height, width = 96, 160
    color = np.zeros((height, width, 4), np.uint8)
    alpha = np.zeros((height, width), np.uint8)
    paint = np.array([[24, 26, 26], [40, 50, 44], [150, 152, 152], [196, 196, 190], [98, 72, 50]])[rng.integers(5)]
    paint = paint * rng.uniform(0.7, 1.2)
    top = 0
    kind = index % 4
    if kind == 0:  # railings
        alpha[:, :: int(rng.choice([8, 10, 16]))] = 255
        alpha[:] = cv2.dilate(alpha, np.ones((1, 2), np.uint8))
        alpha[8:12], alpha[-14:-10] = 255, 255
        alpha[:, :4] = 255
    elif kind == 1:  # planks
        alpha[:] = 255
        alpha[:, :: int(rng.choice([10, 16, 20]))] = 40
    elif kind == 2:  # mesh
        alpha[::6], alpha[:, ::6] = 120, 120
        alpha[:, :3], alpha[:3] = 255, 255
    else:  # guard rail
        top = 24
        alpha[top:60], alpha[top:, 70:80] = 255, 255
        paint = np.array([150, 154, 156]) * rng.uniform(0.7, 1.1)
    tone = 1 + 0.1 * noise_patch(rng, height, width, 0.8)
    if kind == 1:
        tone = tone * (1 + 0.12 * rng.standard_normal(width // 16).repeat(16)[:width])
    if kind == 3:
        tone[top:60] *= (1 + 0.25 * np.sin(np.arange(60 - top) / 5))[:, None]
    color[..., :3] = np.clip(paint * tone[..., None], 0, 255)
    labels = np.full((height, width), NOTHING, np.uint8)
    labels[top:] = FENCE
    return Sprite(color, alpha, labels)


@lru_cache(maxsize=24)
def concrete_texture(index: int) -> Sprite:
    """Return 6 metres of concrete barrier: cast pieces, stained; some are painted in bands."""
    rng = np.random.default_rng((101, index))
    grey = np.array([158.0, 154, 146]) * rng.uniform(0.6, 1.25)
    color = grey * (1 + 0.1 * noise_patch(rng, 96, 192, 1.2))[..., None]
    if index % 4 == 0:  # bands of black, red or yellow and white, as at kerbs and works
        bands = (np.arange(192) // int(rng.choice([16, 24, 32]))) % 2 == 0
        color[:, bands] = np.array([[30, 30, 32], [176, 40, 34], [214, 176, 40]])[rng.integers(3)]
    color[:, :: int(rng.choice([48, 64, 96]))] *= 0.55
    color[:10] *= 1.15
    color[int(rng.integers(40, 70)) :] *= rng.uniform(0.75, 0.95)
    return Sprite.opaque(np.clip(color, 0, 255).astype(np.uint8))


@lru_cache(maxsize=24)
def bank_texture(index: int) -> Sprite:
    """Return 6 x 6 metres of a slope: grass, dry grass, soil, gravel."""
    rng = np.random.default_rng((103, index))
    ground = np.array([[92, 110, 56], [110, 116, 66], [150, 134, 92], [132, 98, 70], [128, 122, 112]])[index % 5]
    tufts = 0.16 * noise_patch(rng, 128, 128, 0.6) + 0.14 * noise_patch(rng, 128, 128, 1.4)
    patches = np.clip(noise_patch(rng, 128, 128, 1.5) + rng.uniform(-1, 0.6), 0, 1)[..., None] * 0.6
    color = ground + (np.array([140, 116, 84]) - ground) * patches
    return Sprite.opaque(np.clip(color * rng.uniform(0.7, 1.2) * (1 + tufts)[..., None], 0, 255).astype(np.uint8))
