"""A drive down one street: frames of a moving camera among moving traffic, through one condition after the other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from querydiff_core.conditions import CONDITIONS, check_conditions
from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes.image.camera import Camera
from querydiff_core.street_scenes.image.optics import draw_lens
from querydiff_core.street_scenes.render import View, render
from querydiff_core.street_scenes.scene import check_request
from querydiff_core.street_scenes.weather import Weather, draw_weather
from querydiff_core.street_scenes.world.street import Street, draw_street


@dataclass(frozen=True)
class CameraInfo:
    """The pinhole camera of a drive, without distortion; `intrinsics` is K, float64 `(3, 3)`, in pixels."""

    height: int
    width: int
    intrinsics: np.ndarray

    @property
    def focal_length(self) -> float:
        """Return the focal length in pixels, the same across and down."""
        return float(self.intrinsics[0, 0])


@dataclass(frozen=True)
class DriveFrame:
    """One frame: `image` uint8 `(H, W, 3)` RGB, `labels` uint8 `(H, W)` trainIds, `stamp` in ns from the start."""

    image: np.ndarray
    labels: np.ndarray
    condition: str
    stamp: int
    camera_info: CameraInfo


def render_drive(
    seed: int,
    frames: int,
    size: tuple[int, int] = (256, 512),
    rate: float = 10.0,
    conditions: Sequence[str] = CONDITIONS,
) -> Iterator[DriveFrame]:
    """Render `frames` frames at `rate` Hz; `conditions` follow each other in stretches of equal length.

    Raises:
        QueryDiffError: for an unknown or missing condition, a negative seed, a bad size, `frames` or `rate` below 1.
    """
    check_request(seed, size)
    if frames < 1 or not 0 < rate < float("inf"):
        raise QueryDiffError(f"A drive needs at least 1 frame and a rate above 0 Hz, found {frames} and {rate:g}.")
    check_conditions(conditions)
    # A camera that drives sets its exposure: none of its days is dark but the night.
    days = [draw_weather(condition, seed) for condition in conditions]
    days = [replace(day, brightness=max(day.brightness, 0.75)) for day in days]
    journey = _draw_journey(seed, size)
    return (journey.frame(number, number / rate, days[number * len(days) // frames]) for number in range(frames))


@dataclass(frozen=True)
class _Journey:
    """How the camera travels: at `speed` m/s along its lane, `elevation` metres high."""

    seed: int
    size: tuple[int, int]
    street: Street
    speed: float
    lane: float
    elevation: float
    pitch: float
    focal: float

    def frame(self, number: int, time: float, weather: Weather) -> DriveFrame:
        """Render frame `number`, `time` seconds after the start."""
        camera = self.camera(time)
        lens = draw_lens(np.random.default_rng((self.seed, 15)), 0.15, weather.night)
        view = View(
            street=self.street,
            weather=weather,
            camera=camera,
            lens=lens,
            time=time,
            ego_speed=self.speed,
            bonnet=0.0,
            moment=self.seed * 1_000_003 + number,
            driving=True,
        )
        image, labels = render(view)
        info = CameraInfo(camera.height, camera.width, camera.intrinsics)
        return DriveFrame(image, labels, weather.condition, round(time * 1e9), info)

    def camera(self, time: float) -> Camera:
        """Return the camera at `time`: it follows the bends and sways a little, as a car does."""
        s = 60.0 + self.speed * time
        sway = 0.12 * np.sin(0.5 * time) + 0.08 * np.sin(1.3 * time)
        return Camera(
            width=self.size[1],
            height=self.size[0],
            focal=self.focal,
            position=(float(self.street.centre(s) + self.lane + sway), self.elevation, s),
            yaw=float(np.arctan(self.street.slope(s + 6.0)) + 0.006 * np.cos(0.5 * time)),
            pitch=self.pitch + 0.002 * float(np.sin(5.1 * time) + np.sin(3.3 * time)),
            roll=0.003 * float(np.sin(2.3 * time)),
        )


def _draw_journey(seed: int, size: tuple[int, int]) -> _Journey:
    rng, street = np.random.default_rng((seed, 14)), draw_street(seed)
    height, width = size
    field = np.radians(rng.uniform(58, 74))
    return _Journey(
        seed=seed,
        size=size,
        street=street,
        speed=float(rng.uniform(6.5, 10.0)),
        lane=street.side * street.lane_width * (0.5 if street.lanes > 1 else 0.0),
        elevation=float(rng.uniform(1.3, 1.7)),
        pitch=float(rng.uniform(0.0, 0.05)),
        focal=float(max(width, 1.3 * height) / 2 / np.tan(field / 2)),
    )
