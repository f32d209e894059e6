"""The ground: asphalt, paving, grass, markings, worn and stained, sampled by inverse perspective."""

from __future__ import annotations

from functools import lru_cache

import cv2
import numpy as np

from querydiff_core.data.street_scenes.canvas import Canvas
from querydiff_core.data.street_scenes.labels import ROAD, SIDEWALK, TERRAIN
from querydiff_core.data.street_scenes.markings import marking_cover
from querydiff_core.data.street_scenes.noise import noise_tile
from querydiff_core.data.street_scenes.street import Street
from querydiff_core.data.street_scenes.weather import Weather

TILE = 512
PIXELS_PER_METRE = 48.0
ASPHALT, KERB, PAVING, GRASS, YARD, CYCLE = range(6)
_LABELS = np.array([ROAD, SIDEWALK, SIDEWALK, TERRAIN, SIDEWALK, ROAD], np.uint8)
_SURFACE = np.array([0, 0, 1, 2, 1, 0], np.int32)


def paint_ground(canvas: Canvas, street: Street, weather: Weather, blocks: dict[int, tuple[bool, bool]]) -> None:
    """Paint everything below the horizon; `blocks`: for each block, whether left and right of it lies grass."""
    row, x, z, depth = canvas.camera.ground()
    if row >= canvas.camera.height:
        return
    d = x - _centre(street, z)
    zone = _zones(street, d, z, blocks)
    rng = street.rng(5)
    color = _surface_colors(street, weather, rng)[zone]
    color *= _roughness(d, z, depth, zone, rng)[..., None]
    _mark(color, street, canvas.camera.focal, d, z, depth, rng)
    color *= (weather.brightness * _sunlight(street, weather, d, z))[..., None]
    near = depth < 220
    np.copyto(canvas.color[row:, :, :3], np.clip(color, 0, 255).astype(np.uint8), where=near[..., None])
    np.copyto(canvas.labels[row:], _LABELS[zone], where=near)
    np.copyto(canvas.depth[row:], depth, where=near)
    canvas.color[row:, :, 3][near] = 0


def _centre(street: Street, z: np.ndarray) -> np.ndarray:
    """Look up the centre line: a table of 0.5 m steps is finer than any pixel needs and far faster."""
    start = float(z.min()) if z.min() > -1e5 else -1e5
    table = street.centre(start + 0.5 * np.arange(1000)).astype(np.float32)
    return table[np.clip((z - start) * 2, 0, 999).astype(np.int32)]


def _zones(street: Street, d: np.ndarray, z: np.ndarray, blocks: dict[int, tuple[bool, bool]]) -> np.ndarray:
    """Return the kind of ground at each pixel."""
    away = np.abs(d)
    edges = [
        street.half_width,
        street.half_width + 0.16,
        street.half_width + 0.16 + street.verge,
        street.frontage_line,
    ]
    table = np.array([ASPHALT, KERB, GRASS, PAVING, YARD], np.uint8)
    zone = table[np.searchsorted(np.array(edges, np.float32), away.ravel(), side="right").reshape(away.shape)]
    if street.cycle_lane:
        zone[(zone == ASPHALT) & (away > street.half_width - 1.4)] = CYCLE
    block = np.floor(z[:, :] / street.block)
    yard = zone == YARD
    for index, (left, right) in blocks.items():
        here = yard & (block == index)
        if left or right:
            zone[here & ((left & (d < 0)) | (right & (d > 0)))] = GRASS
        half = street.crossing(index)
        if half:
            cross = np.abs(z - index * street.block)
            beyond = away > street.half_width
            zone[beyond & (cross < half + 1.9)] = PAVING
            zone[beyond & (cross < half + 0.16)] = KERB
            zone[beyond & (cross < half)] = ASPHALT
    return zone


def _surface_colors(street: Street, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Return the base colour of each kind of ground, float32 `(6, 3)`."""
    grey = rng.uniform(58, 128)
    asphalt = grey * (1 + rng.uniform(-0.05, 0.05, 3))
    paving = rng.uniform(90, 165) * (1 + rng.uniform(-0.08, 0.08, 3) + [0.03, 0, -0.03])
    kerb = np.mean([paving, [165, 162, 155]], axis=0) * rng.uniform(0.75, 1.1)
    grass = np.array([rng.uniform(70, 125), rng.uniform(95, 125), rng.uniform(40, 70)])
    yard = paving * rng.uniform(0.8, 1.1) * (1 + rng.uniform(-0.06, 0.06, 3))
    cycle = np.array([[140, 74, 62], [70, 104, 84], asphalt, [80, 90, 120]])[rng.integers(4)]
    colors = np.stack([asphalt, kerb, paving, grass, yard, cycle])
    return (colors * (1 - 0.35 * weather.wetness)).astype(np.float32)


@lru_cache(maxsize=4)
def _atlas(variant: int) -> np.ndarray:
    """Return asphalt, paving and grass tiles one above the other, float32, 1 = the base colour."""
    rng = np.random.default_rng((23, variant))
    grain, dirt = noise_tile(variant, TILE, 0.25), noise_tile(variant + 9, TILE, 1.2)
    asphalt = 1 + 0.10 * grain + 0.05 * dirt
    grass = 1 + 0.16 * noise_tile(variant + 5, TILE, 0.7) + 0.10 * dirt
    paving = (1 + 0.05 * grain + 0.05 * dirt) * _slabs(rng)
    tiles = [np.pad(tile, ((0, 1), (0, 1)), mode="wrap") for tile in (asphalt, paving, grass)]
    return np.concatenate(tiles).astype(np.float32)


def _slabs(rng: np.random.Generator) -> np.ndarray:
    """Return paving slabs with joints and a shade each, float32 `(TILE, TILE)`."""
    height, width = (int(v) for v in rng.choice([16, 32, 32, 64], 2))
    shades = 1 + 0.07 * rng.standard_normal((TILE // height, TILE // width))
    slabs = np.kron(shades, np.ones((height, width)))
    slabs[::height] *= 0.72
    for row in range(TILE // height):
        offset = (row % 2) * width // 2
        slabs[row * height : (row + 1) * height] = np.roll(slabs[row * height : (row + 1) * height], offset, axis=1)
        slabs[row * height : (row + 1) * height, offset::width] *= 0.72
    return slabs


def _roughness(
    d: np.ndarray, z: np.ndarray, depth: np.ndarray, zone: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the texture of the ground as a factor: fine grain that fades with distance, stains that do not."""
    atlas = _atlas(int(rng.integers(4)))
    u, v = d * (PIXELS_PER_METRE / TILE), z * (PIXELS_PER_METRE / TILE)
    u = (u - np.floor(u)) * TILE
    v = (v - np.floor(v)) * TILE + _SURFACE.astype(np.float32)[zone] * (TILE + 1)
    fine = cv2.remap(atlas, u, v, cv2.INTER_LINEAR)
    tile = noise_tile(int(rng.integers(8)), TILE, 1.1)
    coarse = cv2.remap(tile, _wrap(d * 9.0 + 100), _wrap(z * 5.0), cv2.INTER_LINEAR)
    # Wheels polish and stain lanes along the road: noise stretched in that direction.
    tracks = cv2.remap(tile, _wrap(d * 40.0), _wrap(z * 1.2), cv2.INTER_LINEAR)
    fade = np.minimum(16.0 / np.maximum(depth, 1), 1.0)
    strength = rng.uniform(0.5, 1.5)
    return np.clip(1 + strength * ((fine - 1) * fade + 0.07 * coarse + 0.05 * tracks), 0.25, 1.8)


def _wrap(pixels: np.ndarray) -> np.ndarray:
    return pixels - np.floor(pixels / (TILE - 1)) * (TILE - 1)


def _mark(
    color: np.ndarray,
    street: Street,
    focal: float,
    d: np.ndarray,
    z: np.ndarray,
    depth: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Paint the road markings into `color`, worn."""
    white, yellow = marking_cover(street, focal, d, z, depth)
    worn = noise_tile(3, TILE, 0.9)[(z * 20).astype(np.int32) % TILE, (d * 20).astype(np.int32) % TILE]
    wear = np.clip(rng.uniform(0.5, 1.0) + 0.2 * worn, 0, 1)
    for cover, paint in ((white, [208, 208, 204]), (yellow, [196, 164, 62])):
        if cover is not None:
            color += (np.array(paint, np.float32) * rng.uniform(0.75, 1.1) - color) * (cover * wear)[..., None]


def _sunlight(street: Street, weather: Weather, d: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return how much light reaches the ground: the shadow of one side's houses when the sun stands low."""
    if weather.sunshine <= 0:
        return np.ones_like(d)
    reach = -weather.sun[0] / max(weather.sun[1], 0.2)
    tile = noise_tile(5, 256, 0.6)
    length = abs(reach) * (9 + 3 * tile[(z / 7).astype(np.int32) % 256, 3]) - street.frontage_line
    from_sun = d if reach > 0 else -d
    shadow = np.clip((length - from_sun) * 3, 0, 1)
    return 1.0 + 0.25 * weather.sunshine - (0.2 + 0.45 * weather.sunshine) * shadow
