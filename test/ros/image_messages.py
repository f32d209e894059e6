"""Camera messages whose labels are known: the pixel engine labels R % 19."""

from __future__ import annotations

import array
from typing import Any

import cv2
import numpy as np
from sensor_msgs.msg import CompressedImage, Image

CHANNELS = {"rgb8": [0, 1, 2], "bgr8": [2, 1, 0], "bgra8": [2, 1, 0, 0], "mono8": [0]}


def picture(height: int = 12, width: int = 16, red: int | None = None) -> np.ndarray:
    """Return uint8 RGB `(height, width, 3)`: all different, or of one `red`."""
    rgb = np.random.default_rng(height + width).integers(0, 256, (height, width, 3), np.uint8)
    if red is not None:
        rgb[:] = red
    return rgb


def raw(rgb: np.ndarray, encoding: str = "rgb8", stamp: int = 0, padding: int = 0, frame_id: str = "front") -> Image:
    """Return `rgb` as an `Image`; every row is followed by `padding` bytes."""
    rows = np.ascontiguousarray(rgb[..., CHANNELS[encoding]]).reshape(len(rgb), -1)
    rows = np.pad(rows, ((0, 0), (0, padding)), constant_values=77)
    message = Image(height=rgb.shape[0], width=rgb.shape[1], encoding=encoding, step=rows.shape[1])
    message.data = array.array("B", rows.tobytes())
    return stamped(message, stamp, frame_id)


def compressed(rgb: np.ndarray, suffix: str = ".png", stamp: int = 0, frame_id: str = "front") -> CompressedImage:
    """Return `rgb` as a `CompressedImage`: exact as PNG, of even colour as JPEG."""
    data = cv2.imencode(suffix, rgb[..., ::-1])[1].tobytes()
    return stamped(CompressedImage(format=suffix[1:], data=array.array("B", data)), stamp, frame_id)


def stamped(message: Any, stamp: int, frame_id: str) -> Any:
    message.header.stamp.sec, message.header.stamp.nanosec = stamp, 500
    message.header.frame_id = frame_id
    return message


def pixels(message: Image) -> np.ndarray:
    """Return the pixels of a `mono8` or `rgb8` message without padding."""
    data = np.frombuffer(message.data, np.uint8)
    return (
        data.reshape(message.height, message.width, -1).squeeze(-1)
        if message.encoding == "mono8"
        else data.reshape(message.height, message.width, 3)
    )
