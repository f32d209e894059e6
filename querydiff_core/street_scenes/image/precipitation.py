"""Fog, wet roads, rain, snow on the ground and in the air; none of it changes a label."""

from __future__ import annotations

import cv2
import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import ROAD, SIDEWALK, TERRAIN, VEGETATION
from querydiff_core.street_scenes.image.noise import noise_tile
from querydiff_core.street_scenes.weather import Weather

SNOW = np.array([228, 232, 240], np.float32)


def lay_snow(canvas: Canvas, weather: Weather, seed: int) -> None:
    """Whiten the ground and the upper sides of foliage, before anything is lit."""
    rng = np.random.default_rng((seed, 6))
    row, x, z, _ = canvas.camera.ground()
    tile = noise_tile(int(rng.integers(8)), 512, 1.1)
    if row < canvas.camera.height:
        labels = canvas.labels[row:]
        patches = tile[(z * 6).astype(np.int32) % 512, (x * 22).astype(np.int32) % 512]
        amount = np.zeros(256, np.float32)
        amount[[ROAD, SIDEWALK, TERRAIN]] = np.array([rng.uniform(-0.9, 1.2), 0.8, 1.6]) + weather.snow
        cover = np.clip(0.35 * patches + amount[labels] - 0.3, 0, 0.96)
        cover[~np.isin(labels, (ROAD, SIDEWALK, TERRAIN))] = 0
        _whiten(canvas.color[row:], cover, weather)
    snow_on_crowns(canvas, weather, tile)


def snow_on_crowns(canvas: Canvas, weather: Weather, tile: np.ndarray) -> None:
    """Whiten foliage in flecks taken from the noise `tile` `(512, 512)`."""
    crowns = canvas.labels == VEGETATION
    if crowns.any():
        rows, columns = np.nonzero(crowns)
        flecks = tile[rows * 3 % 512, columns * 3 % 512]
        cover = np.clip(0.5 * flecks + 0.55 * weather.snow - 0.25, 0, 0.9)[:, None]
        color = canvas.color[rows, columns, :3]
        canvas.color[rows, columns, :3] = color + (SNOW * weather.brightness - color) * cover


def _whiten(color: np.ndarray, cover: np.ndarray, weather: Weather) -> None:
    white = SNOW * weather.brightness
    rgb = color[..., :3].astype(np.float32)
    color[..., :3] = rgb + (white - rgb) * cover[..., None]


def wet_the_road(picture: np.ndarray, canvas: Canvas, weather: Weather) -> None:
    """Mirror what stands above the horizon in the wet ground of `picture` float32 `(H, W, 3)`, in place."""
    rng = np.random.default_rng((weather.seed, 7))
    height, width = canvas.labels.shape
    first = int(np.clip(canvas.camera.horizon + 1, 0, height - 1))
    rows = np.arange(first, height)
    smear = int(rng.integers(6, 24)) if weather.varied else 6  # ripples draw lamps out into columns
    small = (max(width // 2, 1), max((height - first) // smear, 1))
    mirror = picture[np.clip(2 * first - rows, 0, height - 1)]
    streaky = cv2.resize(cv2.resize(mirror, small, interpolation=cv2.INTER_AREA), (width, len(rows)))
    tile = noise_tile(int(rng.integers(8)), 512, 1.2)
    spacing = 500 / np.maximum(rows - first + 4, 1)
    puddles = tile[(spacing * 9).astype(np.int32)[:, None] % 512, (np.arange(width) // 2)[None] % 512]
    grazing = 0.2 + 0.6 * np.exp(-(rows - first) / ((1.2 if weather.varied else 0.3) * height))
    share = np.clip(weather.wetness * (grazing[:, None] + 0.14 * puddles), 0, 0.85)
    share[(canvas.labels[first:] != ROAD) & (canvas.labels[first:] != SIDEWALK)] = 0
    picture[first:] += (streaky - picture[first:]) * share[..., None].astype(np.float32)


def veil(picture: np.ndarray, canvas: Canvas, weather: Weather) -> None:
    """Fade `picture` float32 `(H, W, 3)` into the haze by depth, in place: 1 - exp(-extinction x depth)."""
    share = 1.0 - cv2.exp(-weather.haze * np.minimum(canvas.depth, 900.0))
    if weather.haze < 0.005:
        share[canvas.depth > 900] = 0
    picture += (np.array(weather.haze_color, np.float32) - picture) * share[..., None]


def fall(picture: np.ndarray, weather: Weather, moment: int) -> None:
    """Draw the rain or snow that is in the air at frame `moment` over `picture` float32 `(H, W, 3)`, in place."""
    if weather.precipitation <= 0:
        return
    rng = np.random.default_rng((weather.seed, 8, moment))
    height, width = picture.shape[:2]
    snow = weather.condition == "snow"
    overlay = np.zeros((height, width), np.float32)
    count = int(weather.precipitation * (420 if snow else 260) * np.sqrt(height * width / 131072))
    slant = np.random.default_rng((weather.seed, 9)).uniform(-0.3, 0.3)
    for _ in range(count):
        x, y, near = rng.uniform(0, width), rng.uniform(0, height), rng.random() ** 3
        size = (0.4 + 2.6 * near) * height / 256
        if snow:
            length = size * rng.uniform(0.5, 2.5)
            strength, thickness = rng.uniform(0.3, 0.9), max(round(size), 1)
        else:
            length = (6 + 26 * near) * height / 256
            strength, thickness = rng.uniform(0.06, 0.3), max(round(size * 0.35), 1)
        start = (int(x * 16), int(y * 16))
        end = (int((x + slant * length) * 16), int((y + length) * 16))
        cv2.line(overlay, start, end, strength, thickness, cv2.LINE_AA, 4)
    cv2.GaussianBlur(overlay, (0, 0), max(0.5 * height / 256, 0.3), dst=overlay)
    tone = np.array([235, 238, 244], np.float32) * (0.35 if weather.night else min(weather.brightness, 1.0))
    picture += (tone - picture) * overlay[..., None]


def drops_on_lens(picture: np.ndarray, weather: Weather) -> None:
    """Put a few drops on the lens: each shows its surroundings blurred and upside down."""
    rng = np.random.default_rng((weather.seed, 10))
    wet = weather.condition == "rain"
    if weather.varied and weather.condition in ("night", "snow"):
        wet = weather.wetness > 0 and rng.random() < 0.5
    if not wet or rng.random() < (0.3 if weather.varied else 0.5):
        return
    height, width = picture.shape[:2]
    if weather.varied and rng.random() < 0.4:
        _run_down(picture, rng)
    blurred = cv2.resize(
        cv2.resize(picture, (max(width // 12, 1), max(height // 12, 1)), interpolation=cv2.INTER_AREA), (width, height)
    )[::-1]
    mask = np.zeros((height, width), np.float32)
    for _ in range(int(rng.integers(3, 120 if weather.varied else 26))):
        centre = (int(rng.uniform(0, width)), int(rng.uniform(0, height)))
        radius = max(int(rng.uniform(1.5, 9) * height / 256), 1)
        cv2.ellipse(mask, centre, (radius, int(radius * rng.uniform(1, 1.5))), 0, 0, 360, 0.75, -1, cv2.LINE_AA)
    cv2.GaussianBlur(mask, (0, 0), max(height / 256, 0.5), dst=mask)
    picture += (blurred - picture) * mask[..., None]


def _run_down(picture: np.ndarray, rng: np.random.Generator) -> None:
    """Let water run down the windscreen: parts of `picture` are blurred and shifted, as through uneven glass."""
    height, width = picture.shape[:2]
    tile = noise_tile(int(rng.integers(8)), 256, 1.0)
    rows, columns = np.arange(height) * 64 // height, np.arange(width) * 256 // width
    streaks = cv2.GaussianBlur(tile[np.ix_(rows, columns)], (0, 0), max(height / 200, 0.5))
    share = np.clip(0.6 * streaks + rng.uniform(-0.2, 0.6), 0, 1)[..., None]
    soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(1.0, 3.5) * height / 256)
    picture += (np.roll(soft, int(rng.integers(-2, 3)) * height // 256, axis=1) - picture) * share
