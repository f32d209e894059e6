"""What stands in a scene: cars, people, house fronts, plants and signs, all of which draw themselves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.weather import Weather


class Drawable(Protocol):
    """A thing in the street. `foot`: the world point `(3,)` where it stands, or where a long thing ends."""

    @property
    def foot(self) -> np.ndarray:
        """Return where it stands, by which things are sorted from far to near."""

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Paint the thing as it appears in `weather`."""


@dataclass(frozen=True)
class LongThing:
    """What runs along the road from `near` to `far_end`, world points `(3,)`."""

    near: np.ndarray
    far_end: np.ndarray

    @property
    def foot(self) -> np.ndarray:
        """Return its far end, which nothing that stands before it is farther than."""
        return self.far_end
