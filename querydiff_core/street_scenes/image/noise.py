"""Tileable noise: the roughness of every surface."""

from __future__ import annotations

from functools import lru_cache

import numpy as np


@lru_cache(maxsize=144)
def noise_tile(seed: int, size: int = 256, roughness: float = 1.0) -> np.ndarray:
    """Return a float32 `(size, size)` tile of mean 0 and deviation 1 that repeats without a seam.

    Its spectrum falls as frequency to the power `-roughness`: 0 is grain, 1 is dirt, 2 is clouds.
    """
    rng = np.random.default_rng((17, seed))
    spectrum = np.fft.rfft2(rng.standard_normal((size, size)))
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size)[None, :])
    frequency[0, 0] = 1.0
    spectrum *= frequency**-roughness
    spectrum[0, 0] = 0.0
    tile = np.fft.irfft2(spectrum, s=(size, size))
    tile = (tile / tile.std()).astype(np.float32)
    tile.setflags(write=False)
    return tile


def noise_patch(rng: np.random.Generator, height: int, width: int, roughness: float = 1.0) -> np.ndarray:
    """Return a float32 `(height, width)` piece of one of a few noise tiles, cut at random."""
    tile = noise_tile(int(rng.integers(8)), 512, roughness)
    rows = (np.arange(height) + int(rng.integers(512))) % 512
    columns = (np.arange(width) + int(rng.integers(512))) % 512
    return tile[np.ix_(rows, columns)]
