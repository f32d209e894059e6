"""Points of a depth image or a lidar, and what a label image says of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField
from std_msgs.msg import Header

from querydiff_ros.common.image_conversions import ENCODINGS, BadFrame, byte_array, stored_pixels

UNLABELLED = 255
METRES = {"32FC1": 1.0, "16UC1": 0.001, "mono16": 0.001}
"""Encodings of depth and their unit in metres, as REP 118 has them; some drivers call 16UC1 mono16."""
POINT = np.dtype(
    {
        "names": ["x", "y", "z", "class", "confidence"],
        "formats": ["<f4", "<f4", "<f4", "u1", "u1"],
        "offsets": [0, 4, 8, 12, 13],
        "itemsize": 16,
    }
)
"""A labelled point: metres, trainId (255 unlabelled), and confidence (255 = certain)."""
_FLOATS = {PointField.FLOAT32: "f4", PointField.FLOAT64: "f8"}
_FIELDS = [
    PointField(name=name, offset=POINT.fields[name][1], datatype=kind, count=1)  # type: ignore[index]
    for name, kind in zip(POINT.names or (), [PointField.FLOAT32] * 3 + [PointField.UINT8] * 2, strict=True)
]


@dataclass(frozen=True)
class Pinhole:
    """A camera without distortion: focal lengths and principal point, pixels."""

    fx: float
    fy: float
    cx: float
    cy: float

    @classmethod
    def of(cls, info: CameraInfo) -> Pinhole:
        """Read the matrix of rectified images, P, or K where P is not set; of binned or cropped images the pixels'.

        Raises:
            BadFrame: if the camera is not calibrated.
        """
        p, k = np.reshape(info.p, (3, 4)), np.reshape(info.k, (3, 3))
        matrix = p if p[0, 0] else k
        if not (matrix[0, 0] and matrix[1, 1]):
            raise BadFrame("says that the camera is not calibrated: its K and P are zero")
        x, y = max(info.binning_x, 1), max(info.binning_y, 1)
        center = (matrix[0, 2] - info.roi.x_offset) / x, (matrix[1, 2] - info.roi.y_offset) / y
        return cls(float(matrix[0, 0] / x), float(matrix[1, 1] / y), *map(float, center))

    def place(self, depth: np.ndarray, points: np.ndarray) -> None:
        """Write what the pixels of a depth image `(H, W)`, float32 metres, see into `POINT`s `(H, W)`."""
        height, width = depth.shape
        x = (np.arange(width, dtype=np.float32) - np.float32(self.cx)) / np.float32(self.fx)
        y = (np.arange(height, dtype=np.float32) - np.float32(self.cy)) / np.float32(self.fy)
        np.multiply(depth, x, out=points["x"])
        np.multiply(depth, y[:, None], out=points["y"])
        points["z"] = depth

    def pixels(self, points: np.ndarray, size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return which points `(N, 3)` of the optical frame an image of `size` (height, width) sees, as a mask `(N,)`.

        Then come row and column, integers `(M,)` each, of those M that it sees.
        """
        with np.errstate(divide="ignore", invalid="ignore"):
            column = self.fx * points[:, 0] / points[:, 2] + self.cx + 0.5
            row = self.fy * points[:, 1] / points[:, 2] + self.cy + 0.5
            seen = (points[:, 2] > 0) & (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
        return seen, row[seen].astype(np.intp), column[seen].astype(np.intp)


@dataclass(frozen=True)
class RigidTransform:
    """Turns points of one frame into another's: `rotation` `(3, 3)`, `translation` `(3,)` in metres."""

    rotation: np.ndarray
    translation: np.ndarray

    @classmethod
    def of(cls, text: str) -> RigidTransform:
        """Read "x y z qx qy qz qw", as tf2_echo and static_transform_publisher have it.

        Raises:
            ValueError: if it is anything else.
        """
        values = np.array([float(word) for word in text.replace(",", " ").split()])
        if len(values) != 7 or not np.isfinite(values).all() or abs(np.linalg.norm(values[3:]) - 1) > 0.01:
            raise ValueError("no translation and unit quaternion")
        x, y, z, w = values[3:] / np.linalg.norm(values[3:])
        cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
        return cls(np.eye(3) + 2 * (w * cross + cross @ cross), values[:3])

    def __call__(self, points: np.ndarray) -> np.ndarray:
        """Return the points `(N, 3)` in the other frame."""
        return points @ self.rotation.T + self.translation


def depth_in_metres(message: Image) -> np.ndarray:
    """Return a depth image as float32 `(H, W)`, NaN where nothing was measured.

    Raises:
        BadFrame: if it is none, or its size and data disagree.
    """
    if message.encoding not in METRES:
        raise BadFrame(f"has encoding {message.encoding!r}: expected a depth image, {' or '.join(METRES)}")
    stored = stored_pixels(message, ENCODINGS[message.encoding])[..., 0]
    depth = stored.astype(np.float32) * np.float32(METRES[message.encoding])
    depth[~(np.isfinite(depth) & (depth > 0))] = np.nan
    return depth


def xyz(cloud: PointCloud2) -> np.ndarray:
    """Return the points of a cloud as float64 `(N, 3)`.

    Raises:
        BadFrame: if it has no x, y and z of floats, or its size and data disagree.
    """
    order = ">" if cloud.is_bigendian else "<"
    places = {
        field.name: (f"{order}{_FLOATS[field.datatype]}", field.offset)
        for field in cloud.fields
        if field.datatype in _FLOATS
    }
    if not {"x", "y", "z"} <= places.keys():
        raise BadFrame(f"has the fields {', '.join(field.name for field in cloud.fields)}: expected floats x, y and z")
    formats, offsets = zip(*(places[name] for name in "xyz"), strict=True)
    try:
        point = np.dtype({"names": list("xyz"), "formats": formats, "offsets": offsets, "itemsize": cloud.point_step})
        rows = np.frombuffer(cloud.data, np.uint8).reshape(cloud.height, cloud.row_step)
        points = np.ascontiguousarray(rows[:, : cloud.width * cloud.point_step]).view(point).ravel()
    except ValueError as error:
        raise BadFrame(f"holds {len(cloud.data)} bytes that are no {cloud.height} x {cloud.width} points") from error
    return np.stack([points[name].astype(np.float64) for name in "xyz"], axis=-1)


def unlabelled(points: np.ndarray) -> np.ndarray:
    """Return points `(N, 3)` as `POINT`s `(N,)` of no class."""
    cloud = np.zeros(len(points), POINT)
    for axis, name in enumerate("xyz"):
        cloud[name] = points[:, axis]
    cloud["class"] = UNLABELLED
    return cloud


class CloudBuffer:
    """One `PointCloud2` that is written and sent again and again: fresh pages take longer than what fills them."""

    def __init__(self) -> None:
        self._message = PointCloud2()
        self._points: np.ndarray = np.empty((0, 0), POINT)

    def points(self, height: int, width: int) -> np.ndarray:
        """Return the message's points, `(height, width)` of `POINT`, to be written."""
        if self._points.shape != (height, width):
            self._message = cloud_message(np.zeros((height, width), POINT), self._message.header)
            self._points = np.frombuffer(self._message.data, POINT).reshape(height, width)
        return self._points

    def message(self, header: Header) -> PointCloud2:
        """Return the message, under `header`; it is good until points are written again."""
        self._message.header = header
        return self._message


def cloud_message(points: np.ndarray, header: Header) -> PointCloud2:
    """Return `POINT`s, an image `(H, W)` or a list `(N,)`, under `header`; it may hold NaN."""
    rows = np.atleast_2d(points)
    height, width = rows.shape
    return PointCloud2(
        header=header,
        height=height,
        width=width,
        fields=_FIELDS,
        is_bigendian=False,
        point_step=POINT.itemsize,
        row_step=POINT.itemsize * width,
        data=byte_array(np.ascontiguousarray(rows).view(np.uint8)),
        is_dense=False,
    )
