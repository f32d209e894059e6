"""What stands behind the sidewalk: rows of houses, shops, gardens, parks, walls."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from querydiff_core.street_scenes.things import Drawable
from querydiff_core.street_scenes.things.barriers import RAILINGS, Bank, Barrier
from querydiff_core.street_scenes.things.buildings import Building, draw_bright_tint, draw_tint
from querydiff_core.street_scenes.things.facade_textures import FACADES, STYLES, facade_size
from querydiff_core.street_scenes.things.foliage import BUSHES, KINDS, Tree
from querydiff_core.street_scenes.world.street import Street

GRASSY = ("houses", "park", "open", "field", "forest", "bank", "sheds")
"""The frontages that stand on grass."""


def frontage(
    street: Street, kind: str, side: int, start: float, end: float, rng: np.random.Generator
) -> Iterator[Drawable]:
    """Yield what stands on one `side` of the road between `start` and `end`."""
    line = street.frontage_line + 0.05
    if kind == "terrace" and rng.random() < 0.4:
        yield from _railings(street, side, (start, end), line, rng)
        yield from _row(street, kind, side, start, end, line + rng.uniform(1.0, 3.5), rng)
    elif kind in ("terrace", "shops"):
        yield from _row(street, kind, side, start, end, line, rng)
    elif kind == "offices":
        yield from _row(street, kind, side, start, end, line + rng.uniform(0, 4), rng)
    elif kind == "houses":
        setback = rng.uniform(3, 9)
        yield from _garden_edge(street, side, start, end, line, rng)
        yield from _row(street, kind, side, start, end, line + setback, rng)
        yield from _trees(street, side, start, end, (line + 1, line + setback - 0.5), 11, rng)
    elif kind == "park":
        yield from _garden_edge(street, side, start, end, line, rng)
        yield from _trees(street, side, start, end, (line + 1.5, line + 16), 4.5, rng)
        yield from _row(street, "terrace", side, start, end, line + rng.uniform(18, 34), rng)
    elif kind == "wall":
        yield from _barrier(street, "wall", side, (start, end), line, (0.0, rng.uniform(0.9, 3.6)), rng)
        yield from _trees(street, side, start, end, (line + 1.5, line + 8), 7, rng)
        yield from _row(street, "offices", side, start, end, line + rng.uniform(9, 20), rng)
    elif kind in ("field", "forest", "bank", "sheds"):
        yield from _country(street, kind, side, (start, end), line, rng)
    else:
        yield from _barrier(street, "fence", side, (start, end), line + rng.uniform(0, 2), (0.0, 1.0), rng)
        yield from _trees(street, side, start, end, (line + 4, line + 22), 6, rng)


def _country(
    street: Street, kind: str, side: int, span: tuple[float, float], line: float, rng: np.random.Generator
) -> Iterator[Drawable]:
    """Yield what stands beside a road outside the town: fields, a forest, a bank of grass, sheds behind a fence."""
    if rng.random() < 0.35:
        yield from _barrier(street, "fence", side, span, line + rng.uniform(0.3, 2), (0.0, rng.uniform(0.9, 2.0)), rng)
    if kind == "field":
        yield from _trees(street, side, *span, (line + 2, line + 14), rng.uniform(5, 40), rng)
        yield from _trees(street, side, *span, (line + 25, line + 60), rng.uniform(3, 12), rng)
        if rng.random() < 0.3:
            yield from _row(street, "houses", side, span[0] + 20, span[1] - 10, line + rng.uniform(15, 40), rng)
    elif kind == "forest":
        yield from _barrier(street, "hedge", side, span, line + rng.uniform(4, 9), (0.0, rng.uniform(3, 8)), rng)
        yield from _trees(street, side, *span, (line + 0.8, line + 8), rng.uniform(1.8, 4), rng)
    elif kind == "bank":
        reach, rise = rng.uniform(4, 9), rng.uniform(1.5, 5)
        index = int(rng.integers(24))
        for near, far in pairwise(np.linspace(*span, 5)):
            ends = street.place(near, side * line), street.place(far, side * line)
            yield Bank(ends[0], ends[1], side, float(reach), float(rise), index)
        yield from _trees(street, side, *span, (line + reach, line + reach + 8), rng.uniform(2.5, 12), rng)
    else:
        yield from _row(street, "offices", side, *span, line + rng.uniform(8, 25), rng)
        yield from _trees(street, side, *span, (line + 1, line + 7), rng.uniform(9, 30), rng)


def _row(
    street: Street, kind: str, side: int, start: float, end: float, line: float, rng: np.random.Generator
) -> Iterator[Drawable]:
    """Yield buildings in a row; houses and offices leave gaps, terraces do not."""
    style = kind if kind in STYLES else "terrace"
    family = int(rng.integers(FACADES))
    more = "fronts" in street.groups
    bright = rng.choice([0.1, 0.4, 0.9]) if more else 0.0
    tower = rng.choice([0.0, 0.6]) if more and style == "offices" else 0.03 if more else 0.0
    s, previous = start, 0.0
    while s < end - 3:
        index = int(rng.integers(FACADES)) if rng.random() < 0.75 else family
        front_width, front_height = facade_size(style, index)
        width = min(front_width * rng.uniform(0.9, 1.15), end - s)
        height = front_height * rng.uniform(0.95, 1.1)
        offset = side * (line + (rng.uniform(0, 1.2) if rng.random() < 0.3 else 0.0))
        stack = int(rng.integers(2, 6)) if tower and rng.random() < tower else 1
        pitched = (style == "houses" or rng.random() < 0.55) and stack == 1
        yield Building(
            near=street.place(s, offset),
            far_end=street.place(s + width, offset),
            side=side,
            height=height * stack,
            style=style,
            index=index,
            tint=draw_bright_tint(rng) if bright and rng.random() < bright else draw_tint(rng),
            hidden_below=previous,
            roof=float(rng.uniform(2, 4)) if pitched else 0.0,
            depth=float(rng.uniform(8, 12)),
            stack=stack,
        )
        gap = rng.uniform(1.5, 6) if style in ("houses", "offices") or rng.random() < 0.1 else 0.0
        s, previous = s + width + gap, 0.0 if gap > 0 else height * stack


def _garden_edge(
    street: Street, side: int, start: float, end: float, line: float, rng: np.random.Generator
) -> Iterator[Drawable]:
    """Yield the edge of gardens: hedges, walls, railings, railings on walls; with gates between."""
    s = start
    while s < end - 2:
        stop = min(s + rng.uniform(6, 24), end)
        choice = rng.choice(["hedge", "wall", "fence", "railings", "backed"], p=[0.15, 0.2, 0.25, 0.25, 0.15])
        if choice == "railings":
            yield from _railings(street, side, (s, stop), line, rng)
        elif choice == "backed":
            yield from _barrier(street, "hedge", side, (s, stop), line + 0.4, (0.0, rng.uniform(1.2, 2.2)), rng)
            yield from _railings(street, side, (s, stop), line, rng)
        else:
            yield from _barrier(street, choice, side, (s, stop), line, (0.0, rng.uniform(0.8, 2.0)), rng)
        s = stop + (rng.uniform(1, 4) if rng.random() < 0.5 else 0.0)


def _railings(
    street: Street, side: int, span: tuple[float, float], line: float, rng: np.random.Generator
) -> Iterator[Drawable]:
    """Yield iron railings, mostly on a low wall of brick or stone."""
    low = rng.uniform(0.25, 1.0) if rng.random() < 0.75 else 0.0
    yield from _barrier(street, "railing", side, span, line, (low, low + rng.uniform(0.6, 1.4)), rng)
    if low:
        yield from _barrier(street, "plinth", side, span, line, (0.0, low), rng)


def _barrier(
    street: Street,
    kind: str,
    side: int,
    span: tuple[float, float],
    line: float,
    heights: tuple[float, float],
    rng: np.random.Generator,
) -> Iterator[Drawable]:
    """Yield a barrier in straight pieces that follow the bends."""
    index = int(rng.integers(32)) if kind in ("fence", "hedge") else int(rng.integers(64))
    if kind == "railing":
        kind, index = "fence", RAILINGS * int(rng.integers(32 // RAILINGS))
    pieces = max(int((span[1] - span[0]) / 9), 1)
    stations = np.linspace(*span, pieces + 1)
    for near, far in pairwise(stations):
        yield Barrier(
            near=street.place(near, side * line),
            far_end=street.place(far, side * line),
            kind=kind,
            index=index,
            base=heights[0],
            top=heights[1],
        )


def _trees(
    street: Street,
    side: int,
    start: float,
    end: float,
    band: tuple[float, float],
    spacing: float,
    rng: np.random.Generator,
) -> Iterator[Drawable]:
    """Yield trees and bushes scattered over a band beside the road."""
    for _ in range(int((end - start) / spacing)):
        s, d = rng.uniform(start, end), rng.uniform(*band)
        bush = rng.random() < 0.25
        kind = int(rng.choice(street.tree_kinds)) if rng.random() < 0.6 else int(rng.integers(BUSHES, KINDS))
        kind, height = (int(rng.integers(BUSHES)), rng.uniform(1.0, 2.6)) if bush else (kind, rng.uniform(5, 13))
        yield Tree(street.place(s, side * d), float(height), kind)
