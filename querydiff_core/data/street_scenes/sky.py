"""The sky and the skyline where the street ends."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.data.street_scenes.canvas import Canvas
from querydiff_core.data.street_scenes.labels import BUILDING, SKY, VEGETATION
from querydiff_core.data.street_scenes.noise import noise_tile
from querydiff_core.data.street_scenes.weather import Weather

BLUES = np.array([[70, 118, 190], [96, 150, 214], [126, 170, 216], [58, 100, 160]], np.float32)


def paint_sky(canvas: Canvas, weather: Weather) -> None:
    """Fill the canvas with the sky of `weather`: a gradient, clouds, the glow of the sun."""
    camera, rng = canvas.camera, np.random.default_rng((weather.seed, 3))
    bottom = int(np.clip(camera.horizon + 0.08 * camera.height + 4, 1, camera.height))
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
    if weather.brightness < 0.45:
        sky *= rng.uniform(0.5, 1.05)
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
    density = np.clip(0.45 + rng.uniform(0.4, 1.4) * tile[np.ix_(rows, columns)] + rng.uniform(-0.5, 0.6), 0, 1)
    return cv2.resize(density, (camera.width, bottom), interpolation=cv2.INTER_LINEAR)


def paint_skyline(canvas: Canvas, seed: int, weather: Weather) -> None:
    """Close the end of the street with far roofs and trees."""
    camera, rng = canvas.camera, np.random.default_rng((seed, 4))
    bearing = camera.yaw + np.arctan((np.arange(camera.width) - camera.width / 2) / camera.focal)
    tile = noise_tile(int(rng.integers(8)), 256, 0.8)
    steps = np.floor(bearing * rng.uniform(14, 40)).astype(int) % 256
    fine = np.floor(bearing * 500).astype(int) % 256
    roofs = 9 + 3.5 * tile[steps, 7]
    trees = 8 + 2.5 * tile[(fine // 12) % 256, 31] + 0.9 * tile[fine, 77]
    is_tree = tile[steps // 2, 99] > rng.uniform(-0.6, 0.6)
    distance = 130.0
    height = np.maximum(np.where(is_tree, trees, roofs), 1.0) * camera.focal / distance
    tilt = np.tan(camera.roll) * (np.arange(camera.width) - camera.width / 2)
    top, bottom = camera.horizon - height + tilt, camera.horizon + 0.02 * camera.focal + tilt
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
    canvas.depth[first:last][mask] = distance
