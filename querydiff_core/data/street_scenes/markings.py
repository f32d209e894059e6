"""Road markings: lane lines, edge lines, stop lines, zebra crossings, tram rails."""

from __future__ import annotations

import numpy as np

from querydiff_core.data.street_scenes.street import Street


def marking_cover(
    street: Street, focal: float, d: np.ndarray, z: np.ndarray, depth: np.ndarray
) -> tuple[np.ndarray, np.ndarray | None]:
    """Return how much of each ground pixel white and yellow paint cover, 0 to 1, from `d`, `z` and `depth` in metres."""
    rng = street.rng(6)
    footprint = depth / focal
    white = np.zeros_like(d)
    on_road = np.abs(d) < street.half_width
    lane, lanes = street.lane_width, street.lanes
    dash, gap = rng.uniform(1.5, 4), rng.uniform(2, 6)
    width = rng.uniform(0.10, 0.17)
    for line in range(1, lanes):
        offset = (line - lanes / 2) * lane
        solid = lanes == 4 and line == 2 or rng.random() < 0.15
        cover = _band(np.abs(d - offset), width, footprint)
        np.maximum(white, cover if solid else cover * _dashes(z, dash, gap, focal, depth), out=white)
    edge = street.half_width - (0.35 if not street.parking else 2.3) - (1.4 if street.cycle_lane else 0)
    yellow = None
    away = np.abs(d)
    if street.yellow_lines:
        yellow = np.maximum(
            _band(np.abs(away - street.half_width + 0.45), 0.08, footprint),
            _band(np.abs(away - street.half_width + 0.25), 0.08, footprint),
        )
        yellow *= _clear_of_crossings(street, z)
    elif rng.random() < 0.6:
        np.maximum(white, _band(np.abs(away - edge), 0.11, footprint), out=white)
    white *= _clear_of_crossings(street, z)
    _mark_crossings(white, street, d, z, footprint, rng)
    return white * on_road, yellow


def _band(distance: np.ndarray, width: float, footprint: np.ndarray) -> np.ndarray:
    """Return the cover of a line `width` metres wide by pixels whose middle is `distance` metres off its middle."""
    return np.clip((0.5 * width + 0.5 * footprint - distance) / footprint, 0, 1) * np.minimum(1.0, width / footprint)


def _dashes(z: np.ndarray, dash: float, gap: float, focal: float, depth: np.ndarray) -> np.ndarray:
    phase = np.mod(z, dash + gap)
    edge = np.minimum(0.5, depth * depth / (focal * 1.5))
    return np.clip(0.5 + (0.5 * dash - np.abs(phase - 0.5 * dash)) / np.maximum(edge, 0.02), 0, 1)


def _blocks(street: Street, z: np.ndarray) -> range:
    first = int(np.floor(max(float(z.min()), -1e4) / street.block))
    return range(first, first + 6)


def _clear_of_crossings(street: Street, z: np.ndarray) -> np.ndarray:
    clear = np.ones_like(z)
    for block in _blocks(street, z):
        half = street.crossing(block)
        if half:
            clear[np.abs(z - block * street.block) < half + 1.0] = 0
    return clear


def _mark_crossings(
    white: np.ndarray, street: Street, d: np.ndarray, z: np.ndarray, footprint: np.ndarray, rng: np.random.Generator
) -> None:
    """Add stop lines and zebra crossings before the crossing roads."""
    zebra, period = rng.random() < 0.6, rng.uniform(0.9, 1.3)
    for block in _blocks(street, z):
        half = street.crossing(block)
        if not half:
            continue
        before = np.abs(z - block * street.block) - half
        if zebra:
            stripe = np.abs(np.mod(d, period) - 0.5 * period)
            walk = (before > 1.2) & (before < 4.2)
            white[walk] = _band(stripe, 0.5 * period, footprint)[walk]
        stop = (before > 5.0) & (before < 5.45) & (d * street.side * np.sign(block * street.block - z) > 0)
        white[stop] = 1.0
