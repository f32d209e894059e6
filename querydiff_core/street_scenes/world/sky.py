"""The sky and the skyline where the street ends."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import BUILDING, SKY, VEGETATION
from querydiff_core.street_scenes.image.noise import noise_tile
from querydiff_core.street_scenes.weather import Weather

SKYLINE = 165.0
"""Metres to the skyline; what is nearer is drawn before it."""
BLUES = np.array([[70, 118, 190], [96, 150, 214], [126, 170, 216], [58, 100, 160]], np.float32)


def paint_sky(canvas: Canvas, weather: Weather) -> None:
    """Fill the canvas with the sky of `weather`: a gradient, clouds, the glow of the sun."""
    camera, rng = canvas.camera, np.random.default_rng((weather.seed, 3))
    bottom = int(np.clip(camera.horizon + 0.12 * camera.height + 4, 1, camera.height))
    elevation = np.clip((camera.horizon - np.arange(bottom)) / camera.focal, 0, 1.2).astype(np.float32)
    haze = np.array(weather.haze_color, np.float32)
    pale = np.array([236, 240, 246], np.float32) * rng.uniform(0.85, 1.05)
    if weather.night:
        zenith, pale = np.array([5, 7, 14], np.float32) * rng.uniform(0.5, 2.5), haze * rng.uniform(0.8, 2.0)
    elif weather.condition == "clear":
        zenith = BLUES[rng.integers(len(BLUES))] * rng.uniform(0.9, 1.2)
    else:
        zenith, pale = haze * rng.uniform(0.85, 1.05), haze * rng.uniform(0.98, 1.08)
    fall = np.exp(-elevation / rng.uniform(0.12, 0.45))[:, None, None]
    gradient = zenith + (pale - zenith) * fall
    clouds = _clouds(canvas, bottom, rng)[..., None] * weather.cloud
    cloud_color = zenith * 1.6 if weather.night else np.minimum(pale * rng.uniform(0.9, 1.1), 255)
    if weather.condition == "clear":  # thick clouds are grey below and bright at their rims
        cloud_color = cloud_color * (1 - rng.uniform(0, 0.65) * _clouds(canvas, bottom, rng)[..., None] * clouds)
    sky = gradient + (cloud_color - gradient) * clouds
    if weather.condition == "clear":  # a camera that exposes for the street often loses the sky
        sky *= np.exp(rng.uniform(-0.25, 0.6 if weather.brightness < 0.45 else 1.0))
    if weather.varied and not weather.night and rng.random() < 0.3:  # overcast and burnt out, or almost
        sky += (rng.uniform(225, 262) * np.array([1.0, 1.0, 1.0]) - sky) * rng.uniform(0.6, 1.0)
    canvas.color[:bottom, :, :3] = np.clip(sky, 0, 255)
    canvas.color[:bottom, :, 3] = 255 if weather.night else 0
    canvas.labels[:bottom] = SKY


def _clouds(canvas: Canvas, bottom: int, rng: np.random.Generator) -> np.ndarray:
    """Return how much cloud covers each pixel of the upper rows, 0 to 1; it follows the camera as it turns."""
    camera = canvas.camera
    tile = noise_tile(int(rng.integers(4)), 512, 1.7)
    turn = np.degrees(camera.yaw) * 3.0
    columns = (np.arange(0, camera.width, 4) / camera.focal * 170 + turn + rng.integers(512)).astype(int) % 512
    height = np.maximum((camera.horizon - np.arange(0, bottom + 3, 4)) / camera.focal, 0)
    rows = (60 * np.log1p(8 * height) * 2.2 + rng.integers(512)).astype(int) % 512
    sharpness = rng.uniform(0.4, 1.4) * (2.5 if rng.random() < 0.3 else 1.0)
    density = np.clip(0.45 + sharpness * tile[np.ix_(rows, columns)] + rng.uniform(-0.5, 0.6), 0, 1)
    return cv2.resize(density, (camera.width, bottom), interpolation=cv2.INTER_LINEAR)


def paint_skyline(canvas: Canvas, seed: int, weather: Weather, country: bool = False) -> None:
    """Close the end of the street with far roofs, trees and towers; in the `country` with trees and hills."""
    camera, rng = canvas.camera, np.random.default_rng((seed, 4))
    bearing = camera.yaw + np.arctan((np.arange(camera.width) - camera.width / 2) / camera.focal)
    tile = noise_tile(int(rng.integers(8)), 256, 0.8)
    steps = np.floor(bearing * rng.uniform(14, 40)).astype(int) % 256
    fine = np.floor(bearing * 500).astype(int) % 256
    roofs = 11 + 4.5 * tile[steps, 7]
    trees = 9 + 3.0 * tile[(fine // 12) % 256, 31] + 0.9 * tile[fine, 77]
    is_tree = tile[steps // 2, 99] > rng.uniform(-0.6, 0.6) - 1.4 * country
    if country:
        hills = noise_tile(int(rng.integers(8)), 256, 2.0)[(np.floor(bearing * 60).astype(int)) % 256, 3]
        trees = trees + rng.uniform(0, 14) * np.maximum(hills + rng.uniform(-0.5, 0.5), 0)
    height = np.maximum(np.where(is_tree, trees, roofs), 1.0) * camera.focal / SKYLINE
    tilt = np.tan(camera.roll) * (np.arange(camera.width) - camera.width / 2)
    level = camera.horizon_at(SKYLINE)
    top, bottom = level - height + tilt, level + 0.02 * camera.focal + tilt
    first, last = int(max(top.min(), 0)), int(min(bottom.max() + 1, camera.height))
    if last <= first:
        return
    rows = np.arange(first, last)[:, None]
    mask = (rows >= top) & (rows < bottom)
    shade = weather.brightness * (1 + 0.13 * tile[rows % 256, fine[None]])
    wall = np.array([128, 118, 108]) * rng.uniform(0.7, 1.2) * (1 + 0.12 * tile[steps, 55])[:, None]
    leaf = np.array([70, 84, 52]) * rng.uniform(0.7, 1.2)
    color = np.where(is_tree[:, None], leaf, wall)[None] * shade[..., None]
    canvas.color[first:last, :, :3][mask] = np.clip(color, 0, 255)[mask]
    canvas.color[first:last, :, 3][mask] = 0
    canvas.labels[first:last][mask] = np.broadcast_to(np.where(is_tree, VEGETATION, BUILDING), mask.shape)[mask]
    canvas.depth[first:last][mask] = SKYLINE
    for _ in range(rng.poisson(0.1 if country else 0.6)):
        _paint_tower(canvas, weather, rng)


def _paint_tower(canvas: Canvas, weather: Weather, rng: np.random.Generator) -> None:
    """Put a tower or a block of flats behind the houses, with a spire or none."""
    camera = canvas.camera
    east, half = rng.uniform(-0.45, 0.45) * SKYLINE, rng.uniform(3, 11)
    wall, spire = rng.uniform(16, 42), rng.uniform(8, 30) if rng.random() < 0.6 else 0.0
    outline = [(-half, -4.0), (half, -4.0), (half, wall)]
    if spire:  # between pinnacles
        outline += [(half * 0.9, wall + 4), (half * 0.75, wall), (0.0, wall + spire), (-half * 0.75, wall)]
        outline += [(-half * 0.9, wall + 4)]
    outline += [(-half, wall)]
    x, _, z = camera.position
    points = np.array([(x + east + right, up, z + SKYLINE) for right, up in outline])
    pixels = camera.outline(points)
    if pixels is None:
        return
    stencil = np.zeros(canvas.labels.shape, np.uint8)
    cv2.fillPoly(stencil, [np.round(pixels).astype(np.int32)], 1)
    mask = stencil > 0
    stone = np.array([112, 104, 96]) * rng.uniform(0.4, 1.2) * (1 + rng.uniform(-0.08, 0.08, 3))
    ribs = 1 - 0.25 * (np.arange(camera.width) % max(int(rng.uniform(1.5, 4) * camera.focal / SKYLINE), 2) == 0)
    rows = 1 - 0.2 * (np.arange(camera.height) % max(int(3.2 * camera.focal / SKYLINE), 2) == 0)
    shade = weather.brightness * rows[:, None] * ribs[None]
    canvas.color[..., :3][mask] = np.clip(stone * shade[..., None], 0, 255)[mask]
    canvas.color[..., 3][mask] = 0
    canvas.labels[mask] = BUILDING
    canvas.depth[mask] = SKYLINE
