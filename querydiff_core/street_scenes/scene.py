"""Single street scenes, each in a street, weather and camera of its own."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np

from querydiff_core.conditions import CONDITIONS
from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes.groups import GROUPS, check_groups
from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.image.optics import Lens, draw_lens, draw_worn_lens
from querydiff_core.street_scenes.image.painterly import PAINTED, paint
from querydiff_core.street_scenes.render import View, render
from querydiff_core.street_scenes.weather import draw_weather
from querydiff_core.street_scenes.world.street import Street, draw_street

SMALLEST, LARGEST = 16, 8192
"""The least and the most pixels on a side."""


@dataclass(frozen=True)
class StreetScene:
    """`image` uint8 `(H, W, 3)` RGB, `labels` uint8 `(H, W)` trainIds (255 unlabelled), `condition` of the scene."""

    image: np.ndarray
    labels: np.ndarray
    condition: str


def render_scene(
    seed: int,
    size: tuple[int, int] = (256, 512),
    condition: str | None = None,
    groups: Collection[str] = GROUPS,
) -> StreetScene:
    """Render scene `seed` (0 or more) at `size` (height, width); a `condition` of None is drawn from the seed.

    "painted" is a clear day as a painter would show it, which is rendered only when it is asked for. `groups`: what is
    drawn of all that the third version added. The same arguments give the same bytes on one machine.

    Raises:
        QueryDiffError: for an unknown condition or group, a negative seed or a size outside 16 to 8192.
    """
    check_request(seed, size)
    check_groups(groups)
    rng = np.random.default_rng((seed, 13))
    drawn = CONDITIONS[int(rng.integers(len(CONDITIONS)))]
    weather = draw_weather("clear" if condition == PAINTED else condition or drawn, seed, "weather" in groups)
    street = draw_street(seed, groups)
    view = View(
        street=street,
        weather=weather,
        camera=_draw_camera(street, size, rng),
        lens=_draw_lens(rng, seed, weather.night, "camera" in groups),
        time=float(rng.uniform(0, 100)),
        ego_speed=8.0,
        bonnet=float(0.02 + 0.14 * rng.random() ** 1.5) if rng.random() < 0.5 else 0.0,
        moment=seed,
    )
    image, labels = render(view)
    if condition == PAINTED:
        return StreetScene(paint(image, seed), labels, PAINTED)
    return StreetScene(image, labels, weather.condition)


def check_request(seed: int, size: tuple[int, int]) -> None:
    """Refuse a seed or size that cannot be rendered.

    Raises:
        QueryDiffError: names the value and the range that is possible.
    """
    if seed < 0:
        raise QueryDiffError(f"The seed must be 0 or more, found {seed}.")
    if not all(SMALLEST <= side <= LARGEST for side in size):
        raise QueryDiffError(
            f"A street scene must have {SMALLEST} to {LARGEST} pixels on each side, found {size[0]} x {size[1]}."
        )


def _draw_lens(rng: np.random.Generator, seed: int, night: bool, worn: bool) -> Lens:
    lens = draw_lens(rng, float(rng.uniform(0.2, 1.0)), night)
    return draw_worn_lens(np.random.default_rng((seed, 37)), lens, night) if worn else lens


def _draw_camera(street: Street, size: tuple[int, int], rng: np.random.Generator) -> Camera:
    """Draw where the camera stands on its lane, how it is turned and how wide it sees."""
    height, width = size
    s = _draw_station(street, float(rng.uniform(0, 400)))
    d = street.side * street.lane(_draw_lane(street)) + rng.normal(0, 0.5)
    field = np.radians(rng.uniform(48, 92))
    x = float(street.centre(s)) + d
    tilt = 0.25 * (street.chance(6, 0) - 0.55) * street.chance(6, 1) if "camera" in street.groups else 0.0
    return Camera(
        width=width,
        height=height,
        focal=float(max(width, 1.3 * height) / 2 / np.tan(field / 2)),
        position=(x, float(rng.uniform(1.15, 2.1)), s),
        yaw=float(np.arctan(street.slope(s)) + rng.normal(0, 0.06)),
        pitch=float(rng.normal(0.03, 0.035)) + tilt,
        roll=float(rng.normal(0, 0.012)),
        hill=_draw_hill(rng),
    )


def _draw_station(street: Street, s: float) -> float:
    """Return where along the road the camera stands: often before the junction that follows `s`."""
    if "signals" not in street.groups or street.chance(5, 0) < 0.55:
        return s
    first = int(s // street.block) + 1
    junctions = [index for index in range(first, first + 4) if street.crossing(index)]
    return junctions[0] * street.block - 7 - 45 * street.chance(5, 1) ** 1.3 if junctions else s


def _draw_lane(street: Street) -> int:
    """Draw the lane that the camera drives in, counted from the middle of the road: wide roads are seen from all."""
    return int(street.chance(4, 0) * max(street.lanes // 2, 1)) if "roads" in street.groups else 0


def _draw_hill(rng: np.random.Generator) -> float:
    """Draw how the road bends up or down, 1/m; one in three does. What lies behind a crest is not hidden: mild ones."""
    kind = rng.random()
    return float(rng.uniform(1 / 3000, 1 / 800) if kind < 0.2 else -rng.uniform(0, 1 / 4500) if kind < 0.35 else 0.0)
