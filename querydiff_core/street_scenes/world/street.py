"""The street of a world: drawn at random once for a scene or a complete drive."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

_MASK = (1 << 64) - 1

FRONTAGES = ("terrace", "shops", "houses", "offices", "park", "wall", "open")
"""What stands behind the sidewalk of a block."""


@dataclass(frozen=True)
class Street:
    """The constants of a street; lengths in metres, `side` is +1 where traffic keeps right and -1 where left.

    `parked_shares`: how full the kerb is left and right; `clutter`: how many posts stand about, 1 is usual.
    Lateral positions `d` count from the centre line to the right, `s` along the road is the world's Z.
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

    @property
    def half_width(self) -> float:
        """Return the distance from the centre line to the kerb."""
        return self.lanes * self.lane_width / 2 + (2.3 if self.parking else 0.35) + (1.4 if self.cycle_lane else 0.0)

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
        crosses = self.chance(1, block) < self.crossing_share
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


def draw_street(seed: int) -> Street:
    """Draw the street of world `seed`."""
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
        frontages=tuple(float(share) for share in town),
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
