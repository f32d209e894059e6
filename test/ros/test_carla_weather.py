"""Names of CARLA's weather."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from querydiff_ros.carla_weather import condition_of


# CARLA's own presets of those names (carla.WeatherParameters), by the fields that decide.
@pytest.mark.parametrize(
    ("sun", "fog", "rain", "name"),
    [
        (45.0, 2.0, 0.0, "clear"),  # ClearNoon
        (45.0, 3.0, 0.0, "clear"),  # CloudyNoon
        (45.0, 7.0, 100.0, "rain"),  # HardRainNoon
        (45.0, 3.0, 60.0, "rain"),  # MidRainyNoon
        (-90.0, 60.0, 0.0, "night"),  # ClearNight
        (45.0, 60.0, 80.0, "fog"),
    ],
)
def test_weather_has_a_name(sun: float, fog: float, rain: float, name: str) -> None:
    weather = SimpleNamespace(sun_altitude_angle=sun, fog_density=fog, precipitation=rain)
    assert condition_of(weather) == name
