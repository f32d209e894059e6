"""Parity of two engines on street scenes that need no file: share of equal labels, and speed."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np

from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.street_scenes import CONDITIONS, render_scene

ROUNDS = 3


@dataclass(frozen=True)
class Parity:
    """How an engine compares with its checkpoint.

    `equal`: share of pixels with the same label. `speed`: how many times as many images a second, one at a time.
    `confidence`: how far apart (0 to 255) the confidences are on average, None where the engine has none.
    """

    equal: float
    speed: float
    confidence: float | None


def bundled_frames(size: tuple[int, int] | None = None) -> np.ndarray:
    """Return a street scene of each condition, uint8 RGB `(5, H, W, 3)`, the same on every machine."""
    size = size or (360, 640)
    scenes = [render_scene(seed, size, condition).image for seed, condition in enumerate(CONDITIONS)]
    return np.stack(scenes)


def compare(engine: Segmenter, checkpoint: Segmenter, frames: np.ndarray) -> Parity:
    """Run both on every frame, alone and as a batch, one after the other so that both meet the same disturbances."""
    found, expected = engine(frames), checkpoint(frames)
    equal, confidence = (found.labels == expected.labels).mean(), None
    if found.confidence is not None and expected.confidence is not None:
        confidence = float(np.abs(np.subtract(found.confidence, expected.confidence, dtype=np.int16)).mean())
    seconds: dict[Segmenter, float] = {}
    for _ in range(ROUNDS):
        for segmenter in (engine, checkpoint):
            start = time.perf_counter()
            for frame in frames:
                segmenter(frame)
            seconds[segmenter] = min(seconds.get(segmenter, np.inf), time.perf_counter() - start)
    return Parity(float(equal), seconds[checkpoint] / seconds[engine], confidence)
