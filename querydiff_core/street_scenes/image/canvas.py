"""What a scene is painted on: colour, emission, label and depth of every pixel."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np

from querydiff_core.street_scenes.image.camera import Camera, cut_near
from querydiff_core.street_scenes.image.labels import NOTHING, VOID
from querydiff_core.street_scenes.image.sprite import Sprite

FAR = 2000.0
"""Depth of the sky, metres."""

TINY = 120
"""A textured surface of fewer pixels is painted in its mean colour."""

RIM = 4
"""Pixels by which a texture that does not repeat is continued past its edges, so that its far edge does not show."""

Color = Sequence[float] | np.ndarray
"""RGB, or RGB and emission, each 0 to 255."""


class Canvas:
    """Paints polygons, textured quads and sprites, later ones over earlier ones.

    `color` uint8 `(H, W, 4)`: RGB as by day, and how much of it shines by itself. `labels` uint8 `(H, W)`: trainIds,
    never anti-aliased. `depth` float32 `(H, W)`: metres along the optical axis.
    """

    def __init__(self, camera: Camera) -> None:
        self.camera = camera
        self.color = np.zeros((camera.height, camera.width, 4), np.uint8)
        self.labels = np.full((camera.height, camera.width), VOID, np.uint8)
        self.depth = np.full((camera.height, camera.width), FAR, np.float32)

    def polygon(self, pixels: np.ndarray, color: Color, label: int | None = None, depth: float = FAR) -> None:
        """Fill the convex polygon `pixels` `(N, 2)`; without `label` only its colour is painted."""
        points = (np.minimum(np.maximum(pixels, -8000), 8000) * 16).astype(np.int32)
        cv2.fillConvexPoly(self.color, points, _rgbe(color), cv2.LINE_AA, 4)
        if label is not None:
            cv2.fillConvexPoly(self.labels, points, label, cv2.LINE_8, 4)
            cv2.fillConvexPoly(self.depth, points, depth, cv2.LINE_8, 4)

    def face(self, points: np.ndarray, color: Color, label: int | None = None) -> None:
        """Fill the flat convex world polygon `points` `(N, 3)`."""
        seen = cut_near(self.camera.see(points))
        if len(seen) >= 3:
            self.polygon(self.camera.to_pixels(seen), color, label, float(seen[:, 2].mean()))

    def bar(self, foot: np.ndarray, head: np.ndarray, width: float, color: Color, label: int) -> None:
        """Draw a round bar of `width` metres from `foot` to `head` `(3,)`, lit from one side."""
        x0, y0, near = self.camera.locate(foot)
        x1, y1, far = self.camera.locate(head)
        if min(near, far) < 0.5:
            return
        radius0, radius1 = (max(0.5 * width * self.camera.focal / depth, 0.5) for depth in (near, far))
        reach = max(radius0, radius1) + 1
        if max(x0, x1) < -reach or min(x0, x1) > self.camera.width + reach or max(y0, y1) < -reach:
            return
        length = max(math.hypot(x1 - x0, y1 - y0), 1e-6)
        across_x, across_y = -(y1 - y0) / length, (x1 - x0) / length

        def strip(left: float) -> np.ndarray:
            """Return the bar from `left` (-1 to 1 radius) to its right edge."""
            return np.array(
                [
                    (x0 + left * radius0 * across_x, y0 + left * radius0 * across_y),
                    (x1 + left * radius1 * across_x, y1 + left * radius1 * across_y),
                    (x1 + radius1 * across_x, y1 + radius1 * across_y),
                    (x0 + radius0 * across_x, y0 + radius0 * across_y),
                ]
            )

        self.polygon(strip(-1.0), color, label, 0.5 * (near + far))
        if reach > 2.2:
            self.polygon(strip(0.1), [0.62 * c for c in color])

    def quad(
        self,
        origin: np.ndarray,
        right: np.ndarray,
        up: np.ndarray,
        texture: Sprite,
        label: int,
        shade: float | np.ndarray = 1.0,
        repeat: tuple[float, float] = (1.0, 1.0),
    ) -> None:
        """Paint `texture` on the parallelogram at `origin` `(3,)` spanned by `right` and `up` `(3,)`, metres.

        `repeat`: how often the texture fits across and up. Where the texture's own labels hold NOTHING, what lies
        behind keeps its label.
        """
        seen = cut_near(self.camera.see(np.stack([origin, origin + right, origin + right + up, origin + up])))
        if len(seen) < 3:
            return
        outline = self.camera.to_pixels(seen)
        box = self._box(outline)
        if box is None:
            return
        if (box[2] - box[0]) * (box[3] - box[1]) < TINY and texture.solid:
            self.polygon(outline, texture.mean * _gain(shade), label, float(seen[:, 2].mean()))
            return
        texture = self._shrink(texture, outline, repeat)
        height, width = texture.alpha.shape
        rims = [RIM * (each <= 1) for each in repeat]
        ends = self.camera.lift(np.stack([origin, origin + right]))
        origin, right = ends[0], ends[1] - ends[0]
        across = right / (width * repeat[0])
        down = -up / (height * repeat[1])
        start = origin + up - np.asarray(self.camera.position) + (0.5 - rims[0]) * across + (0.5 - rims[1]) * down
        to_image = self.camera.projection @ np.stack([across, down, start], axis=1)
        if abs(np.linalg.det(to_image)) > 1e-12:
            self._warp(
                texture.rimmed(*rims),
                to_image,
                outline,
                box,
                (float(seen[:, 2].min()), float(seen[:, 2].max())),
                label,
                shade,
            )

    def _warp(
        self,
        texture: Sprite,
        to_image: np.ndarray,
        outline: np.ndarray,
        box: tuple[int, int, int, int],
        depths: tuple[float, float],
        label: int,
        shade: float | np.ndarray,
    ) -> None:
        left, top, right, bottom = box
        size, area = (right - left, bottom - top), (slice(top, bottom), slice(left, right))
        to_box = np.array([[1, 0, -left], [0, 1, -top], [0, 0, 1]], np.float64) @ to_image
        mask = np.zeros(size[::-1], np.uint8)
        points = (np.clip(outline - [left, top], -8000, 8000) * 16).astype(np.int32)
        cv2.fillConvexPoly(mask, points, 255, cv2.LINE_8, 4)
        paint = cv2.warpPerspective(texture.color, to_box, size, flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_WRAP)
        paint = cv2.multiply(paint, _gain(shade))
        if texture.solid:
            cv2.copyTo(paint, mask, self.color[area])
        else:
            alpha = cv2.warpPerspective(texture.alpha, to_box, size, borderMode=cv2.BORDER_WRAP)
            blend(self.color[area], paint, cv2.min(alpha, mask))
            held = cv2.warpPerspective(
                texture.labels, to_box, size, flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_WRAP
            )
            mask[held == NOTHING] = 0
        inside = mask > 0
        self.labels[area][inside] = label
        near, far = depths
        if far < 1.1 * near:
            self.depth[area][inside] = 0.5 * (near + far)
        else:
            cv2.copyTo(_plane_depth(to_box, size), mask, self.depth[area])

    def sprite(self, foot: np.ndarray, size: tuple[float, float], sprite: Sprite, shade: float = 1.0) -> None:
        """Stand an upright `sprite` of `size` (width, height) metres with the middle of its lower edge at `foot`."""
        column, row, depth = self.camera.locate(foot)
        if depth < 1.0:
            return
        scale = self.camera.focal / depth
        width, height = max(round(size[0] * scale), 1), max(round(size[1] * scale), 2)
        left, top = round(column - width / 2), round(row) - height
        x0, y0 = max(left, 0), max(top, 0)
        x1, y1 = min(left + width, self.camera.width), min(top + height, self.camera.height)
        if x1 <= x0 or y1 <= y0:
            return
        piece = sprite.piece((width, height), (x0 - left, y0 - top, x1 - left, y1 - top))
        paint = piece.color if shade == 1.0 else cv2.multiply(piece.color, _gain(shade))
        blend(self.color[y0:y1, x0:x1], paint, piece.alpha)
        solid = piece.labels != NOTHING
        np.copyto(self.labels[y0:y1, x0:x1], piece.labels, where=solid)
        self.depth[y0:y1, x0:x1][solid] = depth

    def _box(self, outline: np.ndarray) -> tuple[int, int, int, int] | None:
        columns, rows = outline[:, 0].tolist(), outline[:, 1].tolist()
        left, top = max(math.floor(min(columns)), 0), max(math.floor(min(rows)), 0)
        right = min(math.ceil(max(columns)) + 1, self.camera.width)
        bottom = min(math.ceil(max(rows)) + 1, self.camera.height)
        return (left, top, right, bottom) if right > left and bottom > top else None

    @staticmethod
    def _shrink(texture: Sprite, outline: np.ndarray, repeat: tuple[float, float]) -> Sprite:
        """Shrink a texture to about the size that it is seen at, so that far surfaces do not flicker."""
        extent = np.maximum(outline.max(axis=0) - outline.min(axis=0), 1.0)
        height, width = texture.alpha.shape
        seen = (int(1.4 * extent[0] / repeat[0]) + 1, int(1.4 * extent[1] / repeat[1]) + 1)
        # Seen at a slant a texture shrinks far more one way than the other.
        if 3 * seen[0] >= width and 3 * seen[1] >= height:
            return texture.reduced(seen)
        return texture.resized((max(min(seen[0], width), 2), max(min(seen[1], height), 2)))


def _plane_depth(homography: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Return the depth of a plane, float32 `(h, w)`: 1 / depth is affine, the third row of the inverse homography."""
    along_x, along_y, offset = np.linalg.inv(homography)[2].astype(np.float32)
    columns = along_x * np.arange(size[0], dtype=np.float32) + offset
    inverse = columns + (along_y * np.arange(size[1], dtype=np.float32))[:, None]
    return np.reciprocal(np.maximum(inverse, np.float32(1 / FAR), out=inverse))


def blend(target: np.ndarray, paint: np.ndarray, alpha: np.ndarray) -> None:
    """Mix `paint` `(h, w, 4)` into `target` `(h, w, 4)` in place by `alpha` uint8 `(h, w)`."""
    weight = alpha.astype(np.float32) * np.float32(1 / 255)
    target[:] = cv2.blendLinear(paint, np.ascontiguousarray(target), weight, 1.0 - weight)


def _gain(shade: float | np.ndarray) -> np.ndarray:
    """Return the factors of RGB and emission, `(4,)`: a shade dims paint, not lamps."""
    gain = np.ones(4)
    gain[:3] = shade
    return gain


def _rgbe(color: Color) -> tuple[float, float, float, float]:
    emission = float(color[3]) if len(color) > 3 else 0.0
    return min(float(color[0]), 255.0), min(float(color[1]), 255.0), min(float(color[2]), 255.0), emission
