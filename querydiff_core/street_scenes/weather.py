"""The five conditions and how strong each of them is on the day of a scene."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from querydiff_core.conditions import CONDITIONS, check_conditions


@dataclass(frozen=True)
class Weather:
    """One day. `haze` is the extinction per metre, `haze_color` RGB; shares are 0 to 1.

    `varied`: of the third version, where snow is used, lamps differ, skies are white and the sun may stand low.
    `sun`: direction to the sun (right, up, forward), unit length. `sunshine`: direct light beside sky light.
    """

    condition: str
    haze: float
    haze_color: tuple[float, float, float]
    brightness: float
    sun: tuple[float, float, float]
    sunshine: float
    cloud: float
    wetness: float
    snow: float
    precipitation: float
    seed: int
    varied: bool = False

    @property
    def night(self) -> bool:
        """Return whether lamps are lit."""
        return self.condition == "night"

    @property
    def dim(self) -> bool:
        """Return whether most drivers have their lights on by day."""
        return self.brightness < 0.45

    def shade(self, normal: np.ndarray) -> np.ndarray | float:
        """Return the light on surfaces with unit `normal` `(..., 3)`, about 1 where it is well lit."""
        direct = np.maximum(normal @ np.asarray(self.sun), 0.0)
        sky = 0.78 + 0.22 * normal[..., 1]
        return sky * (1.0 - 0.3 * self.sunshine) + 0.55 * self.sunshine * direct


def draw_weather(condition: str, seed: int, varied: bool = False) -> Weather:
    """Draw a day with `condition`; `varied`: one that strays further from the usual.

    Raises:
        QueryDiffError: if `condition` is not one of CONDITIONS.
    """
    check_conditions([condition])
    rng = np.random.default_rng((seed, 2, CONDITIONS.index(condition)))
    azimuth, height = rng.uniform(-np.pi, np.pi), rng.uniform(0.25, 1.1)
    sun = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height))
    clear, fog, night = condition == "clear", condition == "fog", condition == "night"
    rain, snow = condition == "rain", condition == "snow"
    # Dusk, or a camera that exposes for the sky: the street is dark under bright clouds.
    dim = clear and rng.random() < 0.35
    visibility = rng.uniform(25, 130) if fog else rng.uniform(180, 500) if rain or snow else rng.uniform(800, 4000)
    grey = rng.uniform(150, 232) if fog or snow else rng.uniform(120, 200)
    tint = np.array([1.0, 1.0, 1.0]) + rng.uniform(-0.05, 0.05, 3) + [-0.02, 0.0, 0.02]
    haze_color = tuple(float(c) for c in np.clip(grey * tint if not night else [18, 19, 26] * tint, 0, 255))
    weather = Weather(
        condition=condition,
        haze=float(3.0 / visibility),
        haze_color=(haze_color[0], haze_color[1], haze_color[2]),
        brightness=float(
            0.18 + 0.27 * rng.random() if dim else rng.uniform(0.42, 1.2) if clear else rng.uniform(0.6, 1)
        ),
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        sunshine=float(rng.uniform(0.2, 1.0) if clear and not dim and rng.random() < 0.7 else 0.0),
        cloud=float(rng.uniform(0.5 if dim else 0.0, 1.0) if clear else 1.0),
        wetness=float(rng.uniform(0.35, 1.0) if rain else rng.uniform(0.3, 0.8) if rng.random() < 0.3 and night else 0),
        snow=float(rng.uniform(0.35, 1.0) if snow else 0.0),
        precipitation=float(rng.uniform(0.2, 1.0) if rain or snow else 0.0),
        seed=int(rng.integers(1 << 30)),
    )
    return _vary(weather, np.random.default_rng((seed, 33))) if varied else weather


def _vary(weather: Weather, rng: np.random.Generator) -> Weather:
    """Widen what `weather` can be: white skies, thicker rain, wet roads beside snow, a sun low ahead."""
    condition, night = weather.condition, weather.night
    whiter = rng.uniform(0, 1) if condition in ("fog", "rain", "snow") and rng.random() < 0.5 else 0.0
    haze_color = tuple(c + (250 - c) * whiter for c in weather.haze_color)
    if night:
        # The lamps of a town light its sky.
        glow = np.exp(rng.uniform(-1.2, 0.9)) * (1 + rng.uniform(0, 0.5) * np.array([1.0, 0.4, -0.6]))
        haze_color = tuple(c * f for c, f in zip(haze_color, glow, strict=True))
    dense = 3.0 / rng.uniform(40, 250) if condition in ("rain", "snow") and rng.random() < 0.4 else weather.haze
    low = condition == "clear" and rng.random() < 0.3
    azimuth, height = rng.normal(0, 0.5), rng.uniform(0.06, 0.4)
    sun = (np.sin(azimuth) * np.cos(height), np.sin(height), np.cos(azimuth) * np.cos(height)) if low else weather.sun
    wet = rng.uniform(0.2, 0.9) if rng.random() < {"snow": 0.6, "night": 0.4, "fog": 0.25}.get(condition, 0.06) else 0.0
    return replace(
        weather,
        varied=True,
        haze=float(max(dense, weather.haze)),
        haze_color=(float(haze_color[0]), float(haze_color[1]), float(haze_color[2])),
        sun=(float(sun[0]), float(sun[1]), float(sun[2])),
        sunshine=float(rng.uniform(0.5, 1.0)) if low else weather.sunshine,
        cloud=float(0.4 * weather.cloud) if low else weather.cloud,
        brightness=max(weather.brightness, 0.4) if low else weather.brightness,
        wetness=float(max(weather.wetness, wet)),
    )
