"""Snow on a street that people use: ploughed roads with wet tracks, heaps at the kerb, trodden or cleared sidewalks."""

from __future__ import annotations

import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.image.labels import ROAD, SIDEWALK, TERRAIN
from querydiff_core.street_scenes.image.noise import noise_tile
from querydiff_core.street_scenes.image.precipitation import SNOW, snow_on_crowns
from querydiff_core.street_scenes.weather import Weather
from querydiff_core.street_scenes.world.ground import centre_line
from querydiff_core.street_scenes.world.street import Street


def lay_used_snow(canvas: Canvas, weather: Weather, street: Street) -> None:
    """Whiten the ground as traffic, ploughs and shoes leave it, before anything is lit; no label changes."""
    rng = np.random.default_rng((street.seed, weather.seed, 32))
    if rng.random() < 0.65:
        snow_on_crowns(canvas, weather, noise_tile(int(rng.integers(8)), 512, 1.1))
    row, x, z, _ = canvas.camera.ground()
    labels = canvas.labels[row:]
    ground = np.flatnonzero(np.isin(labels, (ROAD, SIDEWALK, TERRAIN)))
    if not len(ground):
        return
    z, classes = z.ravel()[ground], labels.ravel()[ground]
    d = x.ravel()[ground] - centre_line(street, z)
    tile = noise_tile(int(rng.integers(8)), 512, 1.1)
    patches = tile[(z * 6).astype(np.int32) % 512, (d * 22).astype(np.int32) % 512]
    streaks = tile[(z * 1.5).astype(np.int32) % 512, (d * 40).astype(np.int32) % 512]
    amount = np.zeros(256, np.float32)
    amount[TERRAIN] = rng.uniform(0.9, 2.0) + 0.5 * weather.snow
    for label, kept, levels in ((SIDEWALK, (0.5, 0.35), (1.5, 0.45, -0.2)), (ROAD, (0.2, 0.3), (1.1, 0.25, -0.55))):
        level = int(np.searchsorted(np.cumsum(kept), rng.random()))  # covered, trodden, cleared
        amount[label] = levels[level] + rng.uniform(-0.35, 0.35)
    cover = amount[classes] + 0.3 * patches
    on_road = classes == ROAD
    from_lane = np.abs(np.mod(np.abs(d) - street.median / 2, street.lane_width) - street.lane_width / 2)
    tracks = np.clip(1.6 - np.abs(from_lane - 0.75) / 0.3, 0, 1)  # where wheels run, 1.5 m apart
    cover -= on_road * (rng.uniform(0.2, 1.1) * tracks + 0.25 * streaks)
    heap = np.clip(1 - np.abs(np.abs(d) - street.half_width - rng.uniform(-0.4, 0.5)) / rng.uniform(0.4, 1.1), 0, 1)
    cover += rng.uniform(0, 2.2) * heap * (1 + 0.3 * patches)
    cover = np.clip(cover, 0, 0.96)[:, None]
    dirt = np.where(on_road[:, None], np.array([0.72, 0.7, 0.67]) * rng.uniform(0.7, 1.3), rng.uniform(0.8, 1.0))
    white = SNOW * weather.brightness * np.clip(dirt, 0, 1) * (1 + 0.05 * patches[:, None])
    color = canvas.color[row:].reshape(-1, 4)
    rgb = color[ground, :3].astype(np.float32)
    color[ground, :3] = np.clip(rgb + (white - rgb) * cover, 0, 255)
