"""Names of CARLA's weather."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from querydiff_ros.carla.weather import condition_of


@pytest.mark.parametrize(
    ("sun", "fog", "rain", "name"),
    [
        (45.0, 2.0, 0.0, "clear"),
        (0.0, 19.9, 19.9, "clear"),
        (45.0, 7.0, 100.0, "rain"),
        (45.0, 0.0, 20.0, "rain"),
        (-0.1, 60.0, 80.0, "night"),
        (45.0, 20.0, 80.0, "fog"),
    ],
)
def test_weather_has_a_name(sun: float, fog: float, rain: float, name: str) -> None:
    weather = SimpleNamespace(sun_altitude_angle=sun, fog_density=fog, precipitation=rain)
    assert condition_of(weather) == name
