"""The ground: asphalt, paving, grass, markings, worn and stained, sampled by inverse perspective."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache

import cv2
import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import ROAD, SIDEWALK, TERRAIN
from querydiff_core.street_scenes.image.noise import noise_tile
from querydiff_core.street_scenes.weather import Weather
from querydiff_core.street_scenes.world.markings import GroundPixels, mark_road
from querydiff_core.street_scenes.world.road_wear import dappled_shade, road_wear
from querydiff_core.street_scenes.world.street import Street

TILE = 512
PIXELS_PER_METRE = 48.0
ASPHALT, KERB, PAVING, GRASS, YARD, CYCLE, CONCRETE = range(7)
_LABELS = np.array([ROAD, SIDEWALK, SIDEWALK, TERRAIN, SIDEWALK, ROAD], np.uint8)
_TILE_OF = np.array([0, 0, 1, 2, 1, 0, 3], np.float32)
"""Which tile of `_atlas` each kind of ground has; no zone is CONCRETE, but paving may look like it."""
_STEPS = 32
"""Steps per metre in which the ground across the road is looked up."""


def paint_ground(canvas: Canvas, street: Street, weather: Weather, grass: Mapping[int, tuple[bool, bool]]) -> None:
    """Paint everything below the horizon; `grass`: for each block, whether it lies left and right of the sidewalks."""
    row, x, z, depth = canvas.camera.ground()
    if row >= canvas.camera.height:
        return
    d = x - centre_line(street, z)
    zone = _zones(street, d, z, grass)
    rng = street.rng(5)
    color = _surface_colors(street, weather, rng)[zone]
    surface = np.where(zone == PAVING, _sidewalk_surface(street), zone)
    light = _roughness(d, z, depth, surface, rng)
    _wear(light, street, d, z, depth)
    _mark(color, street, GroundPixels(*(a.ravel() for a in (d, z, depth, depth / canvas.camera.focal))), rng)
    _shade(light, street, weather, d, z)
    color *= light[..., None]
    near = depth < 220
    target = canvas.color[row:]
    np.copyto(target[..., :3], cv2.convertScaleAbs(color), where=near[..., None])
    np.copyto(target[..., 3], 0, where=near)
    np.copyto(canvas.labels[row:], _LABELS[zone], where=near)
    np.copyto(canvas.depth[row:], depth, where=near)


def centre_line(street: Street, z: np.ndarray) -> np.ndarray:
    """Return the centre line at `z` from a table of 0.5 m steps, which is far faster than each pixel's own."""
    stations = max(float(z.min()), -1e5) + 0.5 * np.arange(1000)
    return np.interp(z, stations, street.centre(stations)).astype(np.float32)


def _zones(street: Street, d: np.ndarray, z: np.ndarray, grass: Mapping[int, tuple[bool, bool]]) -> np.ndarray:
    """Return the kind of ground at each pixel, uint8."""
    profile = _profile(street, street.frontage_line + 1)
    zone = profile[np.clip(np.abs(d) * _STEPS, 0, len(profile) - 1).astype(np.int32)]
    block = np.clip(np.floor(z / street.block), -30000, 30000).astype(np.int16)
    yard = zone == YARD
    if street.soft:  # beyond the last block too
        zone[yard & ~np.isin(block, list(grass))] = GRASS
    for index, (left, right) in grass.items():
        if left or right:
            side = True if left and right else d < 0 if left else d > 0
            zone[yard & (block == index) & side] = GRASS
        half = street.crossing(index)
        if half:
            across = np.flatnonzero(np.abs(z - index * street.block) < half + 1.9)
            away = np.abs(d.ravel()[across])
            zone.ravel()[across[away <= street.median / 2]] = ASPHALT
            across = across[away > street.half_width]
            inside = np.abs(z.ravel()[across] - index * street.block)
            zone.ravel()[across] = np.where(inside < half, ASPHALT, np.where(inside < half + 0.16, KERB, PAVING))
    return zone


def _profile(street: Street, reach: float) -> np.ndarray:
    """Return the kind of ground from the centre line outward, one value for each 1 / _STEPS metres."""
    away = np.arange(int(reach * _STEPS) + 1) / _STEPS
    profile = np.full(len(away), YARD, np.uint8)
    profile[away < street.frontage_line] = PAVING
    profile[away < street.half_width + 0.16 + street.verge] = GRASS
    profile[away < street.half_width + 0.16] = GRASS if street.soft else KERB
    profile[away < street.half_width] = CYCLE if street.cycle_lane else ASPHALT
    profile[away < street.half_width - 1.4] = ASPHALT
    if street.median > 1.2 and street.barrier != "wall":
        profile[away < street.median / 2] = KERB
        green = street.fast or street.barrier in ("hedge", "trees")
        profile[away < street.median / 2 - 0.16] = GRASS if green else PAVING
    return profile


def _surface_colors(street: Street, weather: Weather, rng: np.random.Generator) -> np.ndarray:
    """Return the base colour of each kind of ground, float32 `(6, 3)`."""
    asphalt = rng.uniform(52, 124) * (1 + rng.uniform(-0.05, 0.05, 3))
    paving = rng.uniform(70, 165) * (1 + rng.uniform(-0.06, 0.06, 3) + np.array([0.03, 0, -0.03]))
    kerb = (paving + np.array([165, 162, 155])) / 2 * rng.uniform(0.75, 1.1)
    grass = np.array([rng.uniform(70, 125), rng.uniform(95, 125), rng.uniform(40, 70)])
    yard = paving * rng.uniform(0.8, 1.1) * (1 + rng.uniform(-0.06, 0.06, 3))
    cycle = np.array([[140, 74, 62], [70, 104, 84], asphalt, asphalt, [80, 90, 120]])[rng.integers(5)]
    if "roads" in street.groups:  # green, dry or mown grass, soil; gravel only where no sidewalk could be meant
        green, soil = np.array([104.0, 116, 62]), np.array([[150, 132, 92], [148, 108, 76], [140, 136, 128]])
        share = rng.random() if street.soft else 0.5 * rng.random()
        grass = (green + (soil[rng.integers(3 if street.soft else 2)] - green) * share) * rng.uniform(0.7, 1.25)
    if _sidewalk_surface(street) == ASPHALT:
        paving = asphalt * rng.uniform(0.8, 1.25) * (1 + rng.uniform(-0.03, 0.03, 3))
    if _sidewalk_surface(street) == CONCRETE:  # paler than any ground but snow
        paving = rng.uniform(135, 210) * (1 + rng.uniform(-0.03, 0.03, 3) + np.array([0.02, 0, -0.04]))
        kerb = paving * rng.uniform(0.8, 1.05)
    colors = np.stack([asphalt, kerb, paving, grass, yard, cycle])
    return (colors * (1 - 0.35 * weather.wetness)).astype(np.float32)


def _sidewalk_surface(street: Street) -> int:
    """Return what sidewalks are made of: of asphalt, only the kerb and the place distinguish them from the road."""
    drawn = street.rng(15).random()
    if drawn < 0.35:
        return ASPHALT
    return CONCRETE if drawn < 0.65 and "roads" in street.groups else PAVING


def _wear(light: np.ndarray, street: Street, d: np.ndarray, z: np.ndarray, depth: np.ndarray) -> None:
    """Multiply `light` by repairs, cracks and damp, and by the dirt of the gutters."""
    rng = street.rng(16)
    light *= 1 + np.float32(rng.uniform(0.5, 1.2)) * road_wear(int(rng.integers(1000)), d, z, depth)
    gutter = np.abs(np.abs(d) - np.float32(street.half_width - 0.1))
    light *= 1 - np.float32(rng.uniform(0.05, 0.4)) * np.clip(1 - gutter * 4, 0, 1)


@cache
def _atlas(variant: int) -> np.ndarray:
    """Return asphalt, paving, grass and concrete tiles one above the other, float32, 0 = the base colour."""
    rng = np.random.default_rng((23, variant))
    grain, dirt = noise_tile(variant, TILE, 0.25), noise_tile(variant + 9, TILE, 1.2)
    asphalt = 0.10 * grain + 0.05 * dirt
    grass = 0.16 * noise_tile(variant + 5, TILE, 0.7) + 0.10 * dirt
    paving = (1 + 0.05 * grain + 0.05 * dirt) * _slabs(rng) - 1
    concrete = (1 + 0.03 * grain + 0.05 * dirt) * _slabs(rng, sides=(64, 64, 128), shades=0.02, joint=0.85) - 1
    tiles = [np.pad(tile, ((0, 1), (0, 1)), mode="wrap") for tile in (asphalt, paving, grass, concrete)]
    return np.concatenate(tiles).astype(np.float32)


def _slabs(
    rng: np.random.Generator, sides: Sequence[int] = (16, 32, 32, 64), shades: float = 0.07, joint: float = 0.72
) -> np.ndarray:
    """Return slabs with joints and a shade each, `(TILE, TILE)`."""
    height, width = (int(v) for v in rng.choice(sides, 2))
    each = 1 + shades * rng.standard_normal((TILE // height, TILE // width))
    slabs = np.kron(each, np.ones((height, width)))
    slabs[::height] *= joint
    for row in range(TILE // height):
        offset = (row % 2) * width // 2
        course = np.roll(slabs[row * height : (row + 1) * height], offset, axis=1)
        course[:, offset::width] *= joint
        slabs[row * height : (row + 1) * height] = course
    return slabs


def _roughness(
    d: np.ndarray, z: np.ndarray, depth: np.ndarray, zone: np.ndarray, rng: np.random.Generator
) -> np.ndarray:
    """Return the texture of the ground as a factor: fine grain that fades with distance, stains that do not."""
    atlas = _atlas(int(rng.integers(4)))
    u, v = d * (PIXELS_PER_METRE / TILE), z * (PIXELS_PER_METRE / TILE)
    u = (u - np.floor(u)) * TILE
    v = (v - np.floor(v)) * TILE + _TILE_OF[zone] * (TILE + 1)
    fine = cv2.remap(atlas, u, v, cv2.INTER_LINEAR)
    tile = noise_tile(int(rng.integers(8)), TILE, 1.1)
    fine *= np.minimum(16.0 / np.maximum(depth, 1), 1.0)
    strength = np.float32(rng.uniform(0.5, 1.5))
    stains = cv2.resize(_stains(tile, d[::2, ::2], z[::2, ::2]), d.shape[::-1], interpolation=cv2.INTER_LINEAR)
    return np.clip(1 + strength * (fine + stains), 0.25, 1.8)


def _stains(tile: np.ndarray, d: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return patches, and tracks that wheels polish: noise stretched along the road."""
    patches = tile[(z * 5).astype(np.int32) % TILE, (d * 9).astype(np.int32) % TILE]
    tracks = tile[(z * 1.2).astype(np.int32) % TILE, (d * 40).astype(np.int32) % TILE]
    return np.asarray(0.07 * patches + 0.05 * tracks)


def _mark(color: np.ndarray, street: Street, ground: GroundPixels, rng: np.random.Generator) -> None:
    """Paint the road markings into `color`, worn."""
    markings = mark_road(street, ground)
    wear, flat = rng.uniform(0.55, 1.0), color.reshape(-1, 3)
    tile = noise_tile(3, TILE, 0.9)
    for cover, paint in (
        (markings.white, (208, 208, 204)),
        (markings.yellow, (196, 164, 62)),
        (markings.steel, (92, 90, 88)),
    ):
        hit = np.flatnonzero(cover)
        worn = tile[(ground.z[hit] * 20).astype(np.int32) % TILE, (ground.d[hit] * 20).astype(np.int32) % TILE]
        share = (cover[hit] * np.clip(wear + 0.2 * worn, 0, 1))[:, None]
        flat[hit] += (np.array(paint, np.float32) * np.float32(rng.uniform(0.75, 1.1)) - flat[hit]) * share


def _shade(light: np.ndarray, street: Street, weather: Weather, d: np.ndarray, z: np.ndarray) -> None:
    """Multiply `light` by what the sky gives, and by the shadow of one side's houses where the sun stands low."""
    light *= weather.brightness
    if weather.sunshine <= 0:
        return
    rng = street.rng(17)
    if rng.random() < 0.5:
        dapples = dappled_shade(int(rng.integers(40)), d[::2, ::2], z[::2, ::2])
        light *= 1 - 0.5 * weather.sunshine * cv2.resize(dapples, d.shape[::-1], interpolation=cv2.INTER_LINEAR)
    reach = -weather.sun[0] / max(weather.sun[1], 0.2)
    tile = noise_tile(5, 256, 0.6)
    length = abs(reach) * (9 + 3 * tile[(z / 7).astype(np.int32) % 256, 3]) - street.frontage_line
    from_sun = d if reach > 0 else -d
    shadow = np.clip((length - from_sun) * 3, 0, 1)
    light *= 1.0 + 0.25 * weather.sunshine - (0.2 + 0.45 * weather.sunshine) * shadow
