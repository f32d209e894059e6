"""Seeds of the parts of a run, from the seed of the run."""

from __future__ import annotations

import numpy as np

# What a seed is for, so that no two uses begin with the same numbers.
CROPS, NOISE, STEPS, POINTS = range(4)


def mixed_seed(*parts: int) -> int:
    """Return a seed in 0 to 2**63 - 1 that depends on every one of `parts` (each 0 or more)."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
