"""A pinhole camera in the world of the street: X right, Y up, Z along the road, metres."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

UP = np.array([0.0, 1.0, 0.0])
"""The direction up in world coordinates, which are metres to the right, up and along the road."""
NEAR = 0.4
"""Metres before the camera at which polygons are cut."""
SLOPE_END = 90.0
"""Metres ahead and behind to which a road bends up or down; from there it keeps its slope."""


@dataclass(frozen=True)
class Camera:
    """Where the camera stands, where it looks and how wide; angles in radians, `pitch` down, `focal` in pixels.

    `hill`: how much slope the road gains a metre ahead, 1/m: above 0 it climbs out of a dip, below 0 it falls behind a
    crest. The world is flat, and is lifted as it is seen.
    """

    width: int
    height: int
    focal: float
    position: tuple[float, float, float]
    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    hill: float = 0.0

    @cached_property
    def intrinsics(self) -> np.ndarray:
        """Return K, float64 `(3, 3)`, in pixels."""
        return np.array(
            [[self.focal, 0, (self.width - 1) / 2], [0, self.focal, (self.height - 1) / 2], [0, 0, 1]], np.float64
        )

    @cached_property
    def rotation(self) -> np.ndarray:
        """Return the axes right, down, forward as the rows of a float64 `(3, 3)` matrix."""
        sin_yaw, cos_yaw = np.sin(self.yaw), np.cos(self.yaw)
        sin_pitch, cos_pitch = np.sin(self.pitch), np.cos(self.pitch)
        right = np.array([cos_yaw, 0.0, -sin_yaw])
        down = -np.array([sin_pitch * sin_yaw, cos_pitch, sin_pitch * cos_yaw])
        forward = np.array([sin_yaw * cos_pitch, -sin_pitch, cos_yaw * cos_pitch])
        sin_roll, cos_roll = np.sin(self.roll), np.cos(self.roll)
        return np.stack([cos_roll * right + sin_roll * down, cos_roll * down - sin_roll * right, forward])

    @cached_property
    def projection(self) -> np.ndarray:
        """Return K R, float64 `(3, 3)`: a world offset from the camera to homogeneous pixels."""
        return self.intrinsics @ self.rotation

    def see(self, points: np.ndarray) -> np.ndarray:
        """Turn world `points` `(N, 3)` into camera coordinates `(N, 3)`: right, down, forward."""
        return (self.lift(points) - np.asarray(self.position)) @ self.rotation.T

    def lift(self, points: np.ndarray) -> np.ndarray:
        """Return world `points` `(..., 3)` as high as the hill carries them."""
        if not self.hill:
            return points
        ahead = np.abs(points[..., 2] - self.position[2])
        bent = np.minimum(ahead, SLOPE_END)
        lifted = np.array(points, np.float64)
        lifted[..., 1] += self.hill * bent * (ahead - bent / 2)
        return lifted

    @cached_property
    def _axes(self) -> list[list[float]]:
        return [[float(value) for value in row] for row in self.rotation]

    def locate(self, point: np.ndarray) -> tuple[float, float, float]:
        """Return column, row and depth of one world `point` `(3,)`: for single points far faster than arrays.

        A point that is not ahead has a depth below NEAR, and a column and row that mean nothing.
        """
        x, y, z = (float(p) - c for p, c in zip(self.lift(point), self.position, strict=True))
        right, down, ahead = (a * x + b * y + c * z for a, b, c in self._axes)
        scale = self.focal / max(ahead, NEAR)
        return right * scale + (self.width - 1) / 2, down * scale + (self.height - 1) / 2, ahead

    def to_pixels(self, seen: np.ndarray) -> np.ndarray:
        """Project camera coordinates `(N, 3)`, all before the camera, to pixels `(N, 2)`."""
        scale = self.focal / seen[:, 2:3]
        return seen[:, :2] * scale + [(self.width - 1) / 2, (self.height - 1) / 2]

    def outline(self, points: np.ndarray) -> np.ndarray | None:
        """Project the world polygon `(N, 3)`, cut at the near plane, to pixels `(M, 2)`; None if all is behind."""
        seen = cut_near(self.see(points))
        return None if len(seen) < 3 else self.to_pixels(seen)

    def ground(self) -> tuple[int, np.ndarray, np.ndarray, np.ndarray]:
        """Meet each pixel's ray with the ground: the first row that reaches it, then X, Z and depth of the rows below.

        X, Z and depth are float32 `(H - row, W)`; pixels above the horizon within these rows have depth 1e4.
        """
        x = ((np.arange(self.width) - (self.width - 1) / 2) / self.focal).astype(np.float32)
        y = ((np.arange(self.height) - (self.height - 1) / 2) / self.focal).astype(np.float32)
        axes = self.rotation.astype(np.float32)
        descent = -(axes[0, 1] * x[None, :] + axes[1, 1] * y[:, None] + axes[2, 1])
        ahead = axes[0, 2] * x[None, :] + (axes[1, 2] * y[:, None] + axes[2, 2])
        nearness = self._nearness(descent, ahead)
        row = int(np.argmax(nearness.max(axis=1) > 1e-3)) if nearness.max() > 1e-3 else self.height
        depth = np.float32(self.position[1]) / np.maximum(nearness[row:], np.float32(1e-4 * self.position[1]))
        east, ahead = axes[0, 0] * x[None, :] + (axes[1, 0] * y[row:, None] + axes[2, 0]), ahead[row:]
        start_x, start_z = np.float32(self.position[0]), np.float32(self.position[2])
        return row, start_x + depth * east, start_z + depth * ahead, depth

    def _nearness(self, descent: np.ndarray, ahead: np.ndarray) -> np.ndarray:
        """Return the camera's height over the depth at which rays meet the ground, 0 or less for those that do not.

        `descent`, `ahead`: how far a ray falls, and how far it goes along the road, for each metre of depth.
        """
        if not self.hill:
            return descent
        root = np.maximum(descent**2 + 2 * self.hill * self.position[1] * ahead**2, 0.0)
        where_bent = (descent + np.sqrt(root)) / 2  # height = hill / 2 (depth x ahead)^2, solved for 1 / depth
        slope = self.hill * SLOPE_END
        where_straight = (descent + slope * ahead) / (1 + slope * SLOPE_END / (2 * self.position[1]))
        within = (root > 0) & (where_bent > 0) & (self.position[1] * ahead < SLOPE_END * where_bent)
        return np.where(within, where_bent, where_straight)

    def horizon_at(self, distance: float) -> float:
        """Return the row of the ground `distance` metres ahead were it level with the camera, at the centre column."""
        lift = self.lift(np.array([0.0, 0.0, self.position[2] + distance]))[1]
        return self.horizon - self.focal * float(lift) / distance

    @cached_property
    def horizon(self) -> float:
        """Return the row of the horizon at the centre column (it may lie outside the image)."""
        return (self.height - 1) / 2 - self.focal * np.tan(self.pitch)


def cut_near(seen: np.ndarray) -> np.ndarray:
    """Cut a polygon in camera coordinates `(N, 3)` at the near plane (Sutherland-Hodgman)."""
    ahead = seen[:, 2] >= NEAR
    if ahead.all():
        return seen
    kept: list[np.ndarray] = []
    for here, there, here_ahead, there_ahead in zip(
        seen, np.roll(seen, -1, axis=0), ahead, np.roll(ahead, -1), strict=True
    ):
        if here_ahead:
            kept.append(here)
        if here_ahead != there_ahead:
            share = (NEAR - here[2]) / (there[2] - here[2])
            kept.append(here + share * (there - here))
    return np.array(kept).reshape(-1, 3)
