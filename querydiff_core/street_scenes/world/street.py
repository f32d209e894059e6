"""The street of a world: drawn at random once for a scene or a complete drive."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np

_MASK = (1 << 64) - 1

FRONTAGES = ("terrace", "shops", "houses", "offices", "park", "wall", "open", "field", "forest", "bank", "sheds")
"""What stands behind the sidewalk of a block."""


@dataclass(frozen=True)
class Street:
    """The constants of a street; lengths in metres, `side` is +1 where traffic keeps right and -1 where left.

    `parked_shares`: how full the kerb is left and right; `clutter`: how many posts stand about, 1 is usual.
    Lateral positions `d` count from the centre line to the right, `s` along the road is the world's Z.
    `median`: how wide what parts the directions is, 0 for a line, and `barrier` what stands on it. `shoulder`: paved
    strip beside the outer lane. `soft`: no kerb and no sidewalk, the verge begins where the asphalt ends. `fast`:
    nobody walks, cycles, parks or crosses. `groups`: of GROUPS, those that are drawn.
    """

    seed: int
    side: int
    lanes: int
    lane_width: float
    parking: bool
    cycle_lane: bool
    tram: bool
    sidewalk: float
    verge: float
    block: float
    crossing_share: float
    frontages: tuple[float, ...]
    tree_spacing: float
    tree_kinds: tuple[int, ...]
    lamp_spacing: float
    parked_shares: tuple[float, float]
    clutter: float
    crowd: float
    yellow_lines: bool
    bends: tuple[tuple[float, float, float], ...]
    median: float = 0.0
    barrier: str = ""
    shoulder: float = 0.0
    soft: bool = False
    fast: bool = False
    groups: frozenset[str] = frozenset()

    @property
    def half_width(self) -> float:
        """Return the distance from the centre line to the kerb."""
        asphalt = self.lanes * self.lane_width / 2 + (2.3 if self.parking else 0.35) + (1.4 if self.cycle_lane else 0.0)
        return asphalt + self.shoulder + self.median / 2

    def lane(self, number: int) -> float:
        """Return the distance from the centre line to the middle of lane `number`, counted outward from 0."""
        return (number + 0.5) * self.lane_width + self.median / 2 if self.lanes > 1 else 0.0

    @property
    def frontage_line(self) -> float:
        """Return the distance from the centre line to where buildings may start."""
        return self.half_width + self.verge + self.sidewalk

    def centre(self, s: np.ndarray | float) -> np.ndarray:
        """Return the world X of the centre line at `s`."""
        return sum((a * np.sin(np.asarray(s) / length + phase) for a, length, phase in self.bends), np.asarray(0.0))

    def slope(self, s: float) -> float:
        """Return dX/dZ of the centre line at `s`."""
        return sum(a / length * math.cos(s / length + phase) for a, length, phase in self.bends)

    def place(self, s: float, d: float, height: float = 0.0) -> np.ndarray:
        """Return the world point at `s` along and `d` right of the centre line, float64 `(3,)`."""
        centre = sum(a * math.sin(s / length + phase) for a, length, phase in self.bends)
        return np.array([centre + d, height, s])

    def crossing(self, block: int) -> float:
        """Return half the width of the road that crosses at the start of `block`, 0 if none does."""
        crosses = not self.fast and self.chance(1, block) < self.crossing_share
        return 2.8 + 2.2 * self.chance(2, block) if crosses else 0.0

    def chance(self, purpose: int, index: int) -> float:
        """Return one random number from 0 to 1, far faster than `rng` (splitmix64)."""
        mixed = (self.seed * 0x9E3779B97F4A7C15 + purpose * 0xD1B54A32D192ED03 + index * 0x8CB92BA72F3D8DD7) & _MASK
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return (mixed ^ (mixed >> 31)) / 2.0**64

    def rng(self, purpose: int, index: int = 0) -> np.random.Generator:
        """Return the random numbers of one part of the world, the same at every call."""
        return np.random.default_rng((self.seed, purpose, index + 1_000_000))


def draw_street(seed: int, groups: Collection[str] = ()) -> Street:
    """Draw the street of world `seed` with what `groups` of GROUPS add."""
    street = replace(_draw_town_street(seed), groups=frozenset(groups))
    return _draw_road(street, np.random.default_rng((seed, 21))) if "roads" in groups else street


def _draw_road(street: Street, rng: np.random.Generator) -> Street:
    """Draw what kind of road it is: the street as it is, or an avenue, a motorway, or a road through the country."""
    kind = rng.random()
    if kind < 0.45:
        return street
    if kind < 0.67:
        return _draw_avenue(street, rng)
    wild = rng.dirichlet((1.5, 1.2, 1.0, 0.6))
    town = np.array(street.frontages[:7]) * rng.choice([0.0, 0.15, 0.5])
    shares = np.concatenate([town, wild * (1 - town.sum())])
    road = replace(
        street,
        frontages=tuple(float(share) for share in shares / shares.sum()),
        parking=False,
        cycle_lane=False,
        tram=False,
        soft=True,
        sidewalk=0.0,
        verge=float(rng.uniform(1.2, 6.0)),
        tree_spacing=60.0,
        yellow_lines=bool(street.yellow_lines and rng.random() < 0.5),
    )
    if kind < 0.84:
        return replace(
            road,
            lanes=2,
            lane_width=float(rng.uniform(2.6, 3.5)),
            tree_spacing=float(rng.choice([14.0, 60.0, 60.0])),
            shoulder=float(rng.uniform(0.0, 0.8)),
            crossing_share=float(rng.uniform(0.0, 0.3)),
            lamp_spacing=float(rng.choice([35.0, 2000.0, 2000.0])),
            clutter=float(rng.uniform(0.1, 0.6)),
            crowd=float(rng.uniform(0.0, 0.8)),
        )
    return replace(
        road,
        lanes=int(rng.choice([4, 4, 6])),
        lane_width=float(rng.uniform(3.2, 3.8)),
        median=float(rng.choice([rng.uniform(0.8, 2.0), rng.uniform(3, 9)])),
        barrier=str(rng.choice(["wall", "rail", "hedge", "rail"])),
        shoulder=float(rng.uniform(0.6, 3.2)),
        fast=True,
        lamp_spacing=float(rng.choice([30.0, 45.0, 2000.0])),
        clutter=float(rng.uniform(0.1, 0.5)),
        crowd=0.0,
        bends=tuple((0.6 * a, 1.8 * length, phase) for a, length, phase in street.bends),
    )


def _draw_avenue(street: Street, rng: np.random.Generator) -> Street:
    """Draw a street of more lanes, most of them parted by a median, with grass beside some sidewalks."""
    return replace(
        street,
        lanes=int(rng.choice([4, 4, 6])),
        lane_width=float(rng.uniform(2.8, 3.5)),
        median=float(rng.uniform(0.6, 6.0)) if rng.random() < 0.75 else 0.0,
        barrier=str(rng.choice(["", "", "hedge", "rail", "wall", "trees"])),
        verge=float(rng.uniform(1.0, 5.0)) if rng.random() < 0.4 else street.verge,
        tram=bool(rng.random() < 0.4),
    )


def _draw_town_street(seed: int) -> Street:
    rng = np.random.default_rng((seed, 0))
    town = rng.dirichlet((2.4, 2.8, 1.1, 1.1, 0.8, 0.7, 0.25))
    return Street(
        seed=seed,
        side=1 if rng.random() < 0.6 else -1,
        lanes=int(rng.choice([2, 2, 2, 2, 2, 2, 1, 1, 4])),
        lane_width=float(rng.uniform(2.6, 3.6)),
        parking=bool(rng.random() < 0.4),
        cycle_lane=bool(rng.random() < 0.2),
        tram=bool(rng.random() < 0.2),
        sidewalk=float(rng.uniform(1.4, 6.2)),
        verge=float(rng.uniform(1.0, 3.0)) if rng.random() < 0.15 else 0.0,
        block=float(rng.uniform(45, 85)),
        crossing_share=float(rng.uniform(0.2, 0.9)),
        frontages=(*(float(share) for share in town), 0.0, 0.0, 0.0, 0.0),
        tree_spacing=float(rng.choice([8.0, 12.0, 18.0, 30.0, 60.0, 60.0])),
        tree_kinds=tuple(int(kind) for kind in rng.integers(16, 120, 3)),
        lamp_spacing=float(rng.uniform(18, 40)),
        parked_shares=_draw_parked_shares(rng),
        clutter=float(rng.uniform(0.2, 1.5)),
        crowd=float(rng.uniform(0.4, 2.6)),
        yellow_lines=bool(rng.random() < 0.25),
        bends=tuple(
            (float(rng.uniform(0, 0.9) ** 2 * length * share), float(length), float(rng.uniform(0, 6.28)))
            for length, share in ((140.0, 0.3), (60.0, 0.1))
        ),
    )


def _draw_parked_shares(rng: np.random.Generator) -> tuple[float, float]:
    """Draw how full the left and the right kerb are: often one of them is free."""
    left, right = rng.uniform(0.2, 0.85, 2) * ((1, 1), (1, 1), (0, 1), (1, 0))[int(rng.integers(4))]
    return float(left), float(right)
