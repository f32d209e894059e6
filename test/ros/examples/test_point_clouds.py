"""Points from depth and lidars, and back to pixels."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sensor_msgs.msg import CameraInfo, Image, PointCloud2, PointField, RegionOfInterest
from std_msgs.msg import Header

from querydiff_ros.common.image_conversions import BadFrame
from querydiff_ros.examples.point_clouds import (
    POINT,
    Pinhole,
    RigidTransform,
    cloud_message,
    depth_in_metres,
    unlabelled,
    xyz,
)

CAMERA = Pinhole(80.0, 90.0, 3.25, 2.5)


def depth_image(values: np.ndarray, encoding: str, padding: int = 0, big_endian: bool = False) -> Image:
    stored = values.astype(values.dtype.newbyteorder(">" if big_endian else "<"))
    rows = np.pad(stored.view(np.uint8).reshape(len(values), -1), ((0, 0), (0, padding)), constant_values=77)
    message = Image(height=values.shape[0], width=values.shape[1], encoding=encoding, step=rows.shape[1])
    message.is_bigendian = int(big_endian)
    message.data = array.array("B", rows.tobytes())
    return message


@pytest.mark.parametrize(("padding", "big_endian"), [(0, False), (6, False), (4, True)])
def test_depth_is_in_metres_and_nothing_is_nan(padding: int, big_endian: bool) -> None:
    millimetres = np.array([[0, 1, 1500], [65535, 2, 3]], np.uint16)
    expected = np.array([[np.nan, 0.001, 1.5], [65.535, 0.002, 0.003]], np.float32)
    for encoding in ("16UC1", "mono16"):
        found = depth_in_metres(depth_image(millimetres, encoding, padding, big_endian))
        np.testing.assert_allclose(found, expected, rtol=1e-6)
    metres = np.array([[np.nan, 1.5], [np.inf, -1.0], [0.0, 2.25]], np.float32)
    found = depth_in_metres(depth_image(metres, "32FC1", padding, big_endian))
    np.testing.assert_array_equal(found, np.array([[np.nan, 1.5], [np.nan, np.nan], [np.nan, 2.25]], np.float32))


def test_what_is_no_depth_is_refused() -> None:
    with pytest.raises(BadFrame, match="has encoding 'rgb8': expected a depth image, 32FC1 or 16UC1"):
        depth_in_metres(Image(height=1, width=1, encoding="rgb8", step=3, data=[0, 0, 0]))
    short = depth_image(np.ones((2, 3), np.uint16), "16UC1")
    short.data = short.data[:-1]
    with pytest.raises(BadFrame, match="is truncated"):
        depth_in_metres(short)


def placed(depth: np.ndarray) -> np.ndarray:
    cloud = np.zeros(depth.shape, POINT)
    CAMERA.place(depth, cloud)
    return np.stack([cloud[name].astype(np.float64) for name in "xyz"], axis=-1)


@given(st.integers(1, 9), st.integers(1, 9), st.floats(0.125, 100.0, width=32))
def test_a_pixels_point_is_seen_in_that_pixel(height: int, width: int, depth: float) -> None:
    points = placed(np.full((height, width), depth, np.float32)).reshape(-1, 3)
    seen, row, column = CAMERA.pixels(points, (height, width))
    assert seen.all()
    np.testing.assert_array_equal(np.stack([row, column]), np.indices((height, width)).reshape(2, -1))


def test_points_are_where_the_pinhole_says() -> None:
    points = placed(np.full((4, 6), 2.0, np.float32))
    np.testing.assert_allclose(points[3, 5], [(5 - 3.25) / 80 * 2, (3 - 2.5) / 90 * 2, 2.0], rtol=1e-6)


def test_points_behind_beside_and_at_the_camera_are_not_seen() -> None:
    points = np.array([[0, 0, -1.0], [1, 0, 1], [0, -1, 1], [0, 0, 0], [np.nan, 0, 1], [0, 0, 1]])
    seen, row, column = CAMERA.pixels(points, (6, 8))
    assert seen.tolist() == [False] * 5 + [True]
    assert (row.tolist(), column.tolist()) == ([3], [3])


def test_the_calibration_is_p_or_k_of_the_pixels_that_there_are() -> None:
    k, p = [80.0, 0.0, 3.0, 0.0, 90.0, 2.0, 0.0, 0.0, 1.0], [70.0, 0.0, 4.0, 0.0, 0.0, 60.0, 5.0, 0.0, 0.0, 0.0, 1.0, 0]
    assert Pinhole.of(CameraInfo(k=k)) == Pinhole(80.0, 90.0, 3.0, 2.0)
    assert Pinhole.of(CameraInfo(k=k, p=[float(value) for value in p])) == Pinhole(70.0, 60.0, 4.0, 5.0)
    cropped = CameraInfo(k=k, binning_x=2, binning_y=2, roi=RegionOfInterest(x_offset=1, y_offset=1))
    assert Pinhole.of(cropped) == Pinhole(40.0, 45.0, 1.0, 0.5)
    with pytest.raises(BadFrame, match="not calibrated"):
        Pinhole.of(CameraInfo())


def test_transforms_are_read_as_tf_has_them() -> None:
    half = np.sqrt(0.5)
    turned = RigidTransform.of(f"1, 2, 3, 0, 0, {half}, {half}")  # a quarter turn to the left
    np.testing.assert_allclose(turned(np.array([[1.0, 0, 0], [0, 1, 0]])), [[1, 3, 3], [0, 2, 3]], atol=1e-9)
    for text in ("", "0 0 0", "0 0 0 0 0 0 0", "0 0 0 0 0 0 2", "a b c d e f g", "nan 0 0 0 0 0 1"):
        with pytest.raises(ValueError):  # noqa: PT011 - what it says is the node's
            RigidTransform.of(text)


def lidar(dtype: np.dtype, points: np.ndarray, padding: int = 0, height: int = 1) -> PointCloud2:
    """Return a cloud of `points` (N, 3), stored as `dtype` of named fields."""
    stored = np.zeros(len(points), dtype)
    for axis, name in enumerate("xyz"):
        stored[name] = points[:, axis]
    kinds = {"f4": PointField.FLOAT32, "f8": PointField.FLOAT64, "u2": PointField.UINT16}
    fields = [
        PointField(name=name, offset=offset, datatype=kinds[kind.str[1:]], count=1)
        for name, (kind, offset, *_) in (dtype.fields or {}).items()
    ]
    rows = np.pad(stored.view(np.uint8).reshape(height, -1), ((0, 0), (0, padding)))
    return PointCloud2(
        height=height,
        width=len(points) // height,
        fields=fields,
        is_bigendian=dtype["x"].str[0] == ">",
        point_step=dtype.itemsize,
        row_step=rows.shape[1],
        data=array.array("B", rows.tobytes()),
    )


@pytest.mark.parametrize(
    "layout",
    [
        {"names": ["x", "y", "z"], "formats": ["<f4"] * 3},
        {"names": ["x", "y", "z", "ring"], "formats": ["<f4"] * 3 + ["<u2"], "offsets": [4, 8, 12, 20], "itemsize": 24},
        {"names": ["ring", "z", "y", "x"], "formats": ["<u2", "<f8", "<f8", "<f8"]},
        {"names": ["x", "y", "z"], "formats": [">f4"] * 3, "offsets": [0, 4, 8], "itemsize": 16},
    ],
)
def test_clouds_of_every_layout_are_read(layout: Any) -> None:
    points = np.arange(18, dtype=np.float64).reshape(6, 3) / 4
    np.testing.assert_array_equal(xyz(lidar(np.dtype(layout), points)), points)
    np.testing.assert_array_equal(xyz(lidar(np.dtype(layout), points, padding=5, height=2)), points)


def test_clouds_without_points_are_refused() -> None:
    cloud = lidar(np.dtype([("x", "<f4"), ("y", "<f4"), ("z", "<f4")]), np.zeros((4, 3)))
    cloud.data = cloud.data[:-1]
    with pytest.raises(BadFrame, match="holds 47 bytes that are no 1 x 4 points"):
        xyz(cloud)
    cloud.fields = cloud.fields[:2]
    with pytest.raises(BadFrame, match="has the fields x, y: expected floats x, y and z"):
        xyz(cloud)


def test_a_labelled_cloud_survives_its_message() -> None:
    points = np.arange(24, dtype=np.float32).reshape(8, 3)
    points[0] = np.nan
    cloud = unlabelled(points).reshape(2, 4)
    assert (cloud["class"] == 255).all()
    cloud["class"], cloud["confidence"] = np.arange(8).reshape(2, 4), 200
    message = cloud_message(cloud, Header(frame_id="camera"))
    assert (message.height, message.width, message.point_step, message.row_step) == (2, 4, 16, 64)
    assert [(field.name, field.offset) for field in message.fields] == [
        ("x", 0),
        ("y", 4),
        ("z", 8),
        ("class", 12),
        ("confidence", 13),
    ]
    assert np.frombuffer(message.data, POINT).tobytes() == cloud.tobytes()
    np.testing.assert_array_equal(xyz(message), points)
    assert message.header.frame_id == "camera"
