"""What a street is made of: things that draw themselves."""

from __future__ import annotations

from typing import Protocol

from querydiff_core.data.street_scenes.canvas import Canvas
from querydiff_core.data.street_scenes.weather import Weather


class Drawable(Protocol):
    """A thing in the street. `far`: the world Z of its farthest part; things are drawn from far to near."""

    @property
    def far(self) -> float:
        """Return the world Z of the farthest part."""

    def draw(self, canvas: Canvas, weather: Weather) -> None:
        """Paint the thing as it looks in `weather`."""
