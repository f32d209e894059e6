"""What a street is made of: things that draw themselves."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from querydiff_core.street_scenes.image.canvas import Canvas
from querydiff_core.street_scenes.world.weather import Weather


class Drawable(Protocol):
    """A thing in the street. `foot`: the world point `(3,)` where it stands, or where a long thing ends."""

    @property
    def foot(self) -> np.ndarray:
        """Return where it stands, by which things are sorted from far to near."""

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Paint the thing as it looks in `weather`."""
