"""Road markings: lane lines, edge lines, stop lines, zebra crossings, tram rails."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from querydiff_core.street_scenes.world.street import Street


@dataclass(frozen=True)
class GroundPixels:
    """Where the pixels of the ground lie, float32 `(N,)` each, metres; `footprint`: how wide a pixel is there."""

    d: np.ndarray
    z: np.ndarray
    depth: np.ndarray
    footprint: np.ndarray


@dataclass
class Markings:
    """How much of each ground pixel white paint, yellow paint and steel cover, 0 to 1, float32 `(N,)`."""

    white: np.ndarray
    yellow: np.ndarray
    steel: np.ndarray


def mark_road(street: Street, ground: GroundPixels) -> Markings:
    """Return the markings of `street`, anti-aliased."""
    rng = street.rng(6)
    cover = Markings(*(np.zeros_like(ground.d) for _ in range(3)))
    _lane_lines(cover, street, ground, rng)
    _edge_lines(cover, street, ground, rng)
    _clear_crossings(cover, street, ground)
    if street.tram and street.lanes > 1:
        for rail in (-0.72, 0.72):
            offset = -street.side * street.lane(0) + rail
            _line(cover.steel, np.abs(ground.d - offset), 0.09, ground)
    _crossings(cover.white, street, ground, rng)
    cover.white[np.abs(ground.d) > street.half_width] = 0
    return cover


def _lane_lines(cover: Markings, street: Street, ground: GroundPixels, rng: np.random.Generator) -> None:
    dash, gap, width = rng.uniform(1.5, 4), rng.uniform(2, 6), rng.uniform(0.10, 0.17)
    for line in range(1, street.lanes):
        offset = (line - street.lanes / 2) * street.lane_width
        middle = street.lanes >= 4 and line == street.lanes // 2
        if middle and street.median:
            continue
        offset += np.sign(offset) * street.median / 2
        dashes = None if middle or rng.random() < 0.15 else (dash, gap)
        _line(cover.white, np.abs(ground.d - offset), width, ground, dashes)


def _edge_lines(cover: Markings, street: Street, ground: GroundPixels, rng: np.random.Generator) -> None:
    away = np.abs(ground.d)
    if street.yellow_lines:
        for inset in (0.25, 0.45):
            _line(cover.yellow, np.abs(away - street.half_width + inset), 0.08, ground)
    elif rng.random() < 0.6:
        edge = street.half_width - (2.3 if street.parking else 0.35) - (1.4 if street.cycle_lane else 0)
        _line(cover.white, np.abs(away - edge + street.shoulder), 0.11, ground)
    if street.median:
        paint = cover.yellow if street.side > 0 and street.chance(3, 0) < 0.5 else cover.white
        _line(paint, np.abs(away - street.median / 2 - 0.2), 0.12, ground)


def _line(
    cover: np.ndarray,
    distance: np.ndarray,
    width: float,
    ground: GroundPixels,
    dashes: tuple[float, float] | None = None,
) -> None:
    """Raise `cover` where a line `width` metres wide lies at `distance` 0; `dashes`: their length and gap, metres."""
    hit = np.flatnonzero(distance < 0.5 * (width + ground.footprint))
    footprint = ground.footprint[hit]
    share = np.clip((0.5 * width + 0.5 * footprint - distance[hit]) / footprint, 0, 1)
    share *= np.minimum(1.0, width / footprint)
    if dashes is not None:
        share *= _dash_cover(ground, hit, *dashes)
    cover[hit] = np.maximum(cover[hit], share)


def _dash_cover(ground: GroundPixels, hit: np.ndarray, dash: float, gap: float) -> np.ndarray:
    phase = np.mod(ground.z[hit], dash + gap)
    edge = np.clip(ground.depth[hit] * ground.footprint[hit] / 1.5, 0.02, 0.5)
    return np.clip(0.5 + (0.5 * dash - np.abs(phase - 0.5 * dash)) / edge, 0, 1)


def _junctions(street: Street, ground: GroundPixels) -> list[tuple[int, float]]:
    """Return the blocks near the camera that start with a crossing road, and half its width."""
    first = int(np.floor(max(float(ground.z.min()), -1e4) / street.block))
    return [(block, half) for block in range(first, first + 4) if (half := street.crossing(block))]


def _clear_crossings(cover: Markings, street: Street, ground: GroundPixels) -> None:
    for block, half in _junctions(street, ground):
        inside = np.abs(ground.z - block * street.block) < half + 1.0
        cover.white[inside] = 0
        cover.yellow[inside] = 0


def _crossings(white: np.ndarray, street: Street, ground: GroundPixels, rng: np.random.Generator) -> None:
    """Add stop lines and zebra crossings beside the crossing roads."""
    zebra, period = rng.random() < 0.6, rng.uniform(0.9, 1.3)
    for block, half in _junctions(street, ground):
        offset = ground.z - block * street.block
        before = np.abs(offset) - half
        if zebra:
            walk = np.flatnonzero((before > 1.2) & (before < 4.2))
            stripe = np.abs(np.mod(ground.d[walk], period) - 0.5 * period)
            footprint = ground.footprint[walk]
            white[walk] = np.clip((0.25 * period + 0.5 * footprint - stripe) / footprint, 0, 1)
        stop = np.flatnonzero((before > 5.0) & (before < 5.45))
        own_half = ground.d[stop] * street.side * np.sign(offset[stop]) < 0
        white[stop[own_half]] = 1.0
