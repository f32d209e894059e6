"""Light at night: street lamps, headlights, lit windows and their glow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import (
    BICYCLE,
    BUILDING,
    BUS,
    CAR,
    FENCE,
    MOTORCYCLE,
    PERSON,
    RIDER,
    ROAD,
    SIDEWALK,
    SKY,
    TERRAIN,
    TRAIN,
    TRUCK,
    VEGETATION,
    WALL,
)
from querydiff_core.street_scenes.weather import Weather

COARSE = 4
"""Light is worked out for every fourth pixel: it changes slowly."""
TONES: dict[tuple[int, ...], tuple[float, float]] = {
    (ROAD, SIDEWALK, TERRAIN): (-0.75, 0.15),
    (BUILDING, WALL, FENCE): (-0.25, 0.5),
    (VEGETATION,): (-0.6, 0.7),
    (PERSON, RIDER, BICYCLE, MOTORCYCLE): (-0.8, 0.1),
    (CAR, TRUCK, BUS, TRAIN): (-0.9, 0.25),
}
"""How much lighter a group of classes may be than it was painted: the range of the logarithm of the factor."""


def vary_tones(canvas: Canvas, weather: Weather) -> None:
    """Make groups of classes lighter or darker against each other: asphalt, plaster and clothes differ by place."""
    rng = np.random.default_rng((weather.seed, 6))
    tone = np.ones(256, np.float32)
    for classes, span in TONES.items():
        tone[list(classes)] = np.exp(rng.uniform(*span))
    factor = tone[canvas.labels]
    factor[canvas.color[..., 3] > 128] = 1.0  # lamps
    canvas.color[..., :3] = cv2.multiply(canvas.color[..., :3], cv2.merge([factor] * 3), dtype=cv2.CV_8U)


def light_up(canvas: Canvas, weather: Weather, lamps: Sequence[np.ndarray]) -> np.ndarray:
    """Return the picture as the camera receives it, float32 RGB `(H, W, 3)`; `lamps`: where street lamps burn."""
    color = canvas.color[..., :3].astype(np.float32)
    if weather.night:
        light = _night_light(canvas, weather, lamps)
        emission = canvas.color[..., 3:].astype(np.float32) / 255
        color *= light + (1.0 - light) * emission
    return _bloom(color, canvas.color[..., 3], weather)


def _night_light(canvas: Canvas, weather: Weather, lamps: Sequence[np.ndarray]) -> np.ndarray:
    camera, rng = canvas.camera, np.random.default_rng((weather.seed, 5))
    size = (max(camera.width // COARSE, 1), max(camera.height // COARSE, 1))
    depth = cv2.resize(canvas.depth, size, interpolation=cv2.INTER_NEAREST)
    right = ((np.arange(size[0]) + 0.5) * COARSE - camera.width / 2)[None, :] / camera.focal * depth
    down = ((np.arange(size[1]) + 0.5) * COARSE - camera.height / 2)[:, None] / camera.focal * depth
    ambient = np.array([0.16, 0.17, 0.21]) * rng.uniform(1.0, 2.6)
    light = np.ones((*depth.shape, 3), np.float32) * ambient.astype(np.float32)
    warm = np.array([1.0, rng.uniform(0.66, 0.95), rng.uniform(0.35, 0.9)], np.float32)
    power, reach, beams = rng.uniform(14, 34), 9.0, rng.uniform(0.5, 1.3)
    if weather.varied:  # from unlit roads to bright avenues, in sodium's orange or in white or bluish LEDs
        light *= np.float32(np.exp(rng.uniform(-1.2, 0.9)))
        warm = np.array([[1.0, 0.6, 0.25], [1.0, 0.8, 0.55], [0.92, 1.0, 1.0]], np.float32)[rng.integers(3)]
        power, reach, beams = np.exp(rng.uniform(0.7, 4.4)), rng.uniform(4, 25), rng.uniform(0.2, 2.2)
    for lamp in lamps:
        x, y, z = camera.see(lamp[None])[0]
        near = power / (reach + (right - x) ** 2 + 0.5 * (down - y) ** 2 + (depth - z) ** 2)
        light += near[..., None].astype(np.float32) * warm
    # The own headlights: a cone that fades with distance, dimmer above the beam.
    across = np.exp(-((right / np.maximum(depth, 1) / 0.38) ** 2))
    beam = np.where(down > -0.2, 1.0, np.exp(-(((down + 0.2) / np.maximum(0.12 * depth, 0.5)) ** 2)))
    head = beams * across * beam * np.exp(-depth / 28) * np.clip(depth / 4, 0, 1)
    light += head[..., None].astype(np.float32) * np.array([1.0, 0.97, 0.88], np.float32)
    light = np.minimum(light, 1.25) * rng.uniform(0.65, 1.05)
    return cv2.resize(light, (camera.width, camera.height), interpolation=cv2.INTER_LINEAR)


def _bloom(color: np.ndarray, emission: np.ndarray, weather: Weather) -> np.ndarray:
    """Let bright lights glow into their surroundings."""
    if not emission.any():
        return color
    height, width = emission.shape
    size = (max(width // COARSE, 1), max(height // COARSE, 1))
    lights = cv2.resize(color * (emission[..., None] > 170), size, interpolation=cv2.INTER_AREA)
    if weather.night:
        lights[cv2.resize(emission, size, interpolation=cv2.INTER_NEAREST) == 0] *= 0.3
    spread = 0.012 * width / COARSE * (2.2 if weather.haze > 0.006 else 1.0)
    if weather.varied:
        lights *= np.float32(np.exp(np.random.default_rng((weather.seed, 34)).uniform(-1.0, 1.4)))
    near = cv2.GaussianBlur(lights, (0, 0), max(spread, 0.6))
    wide = cv2.GaussianBlur(lights, (0, 0), max(4 * spread, 1.5))
    glow = (0.45 if weather.night else 0.2) * near + (0.35 if weather.night else 0.1) * wide
    return color + cv2.resize(glow, (width, height), interpolation=cv2.INTER_LINEAR)


def glare_of_sun(picture: np.ndarray, canvas: Canvas, weather: Weather) -> None:
    """Let a low sun ahead shine into the camera of `picture` float32 `(H, W, 3)`, in place: its disc, halo and veil."""
    camera = canvas.camera
    x, y, ahead = camera.projection @ np.asarray(weather.sun)
    if weather.sunshine <= 0.3 or ahead < 0.3:
        return
    rng = np.random.default_rng((weather.seed, 35))
    columns, rows = np.arange(camera.width, dtype=np.float32), np.arange(camera.height, dtype=np.float32)[:, None]
    away = np.hypot(columns - np.float32(x / ahead), rows - np.float32(y / ahead)) / np.float32(camera.focal)
    strength = np.float32(weather.sunshine * rng.uniform(0.2, 1.0))
    halo = 260 * np.exp(-away / np.float32(rng.uniform(0.04, 0.2))) + 70 * np.exp(-away / np.float32(0.6))
    halo[(away < 0.02) & (canvas.labels == SKY)] = 900
    picture += (strength * halo)[..., None] * np.array([1.0, 0.96, 0.86], np.float32)
