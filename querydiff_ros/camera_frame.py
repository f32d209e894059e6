"""A frame as it arrived, not yet opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from querydiff_ros.conversions import holds_16_bits, rgb_from_compressed, rgb_from_image


@dataclass(frozen=True)
class CameraFrame:
    """One message of a camera. `arrival`: seconds of `time.monotonic` when the node got it."""

    topic: str
    message: Image | CompressedImage
    arrival: float

    @property
    def header(self) -> Header:
        """Return the header that every output of this frame carries, unchanged."""
        return self.message.header

    @property
    def stamp_ns(self) -> int:
        """Return the stamp in nanoseconds."""
        return header_stamp_ns(self.header)

    @property
    def is_narrowed(self) -> bool:
        """Return whether opening the frame leaves out the lower half of 16-bit values."""
        return holds_16_bits(self.message)

    def rgb(self) -> np.ndarray:
        """Return the pixels as uint8 RGB `(H, W, 3)`.

        Raises:
            BadFrame: if the message is not a readable image.
        """
        if isinstance(self.message, Image):
            return rgb_from_image(self.message)
        return rgb_from_compressed(self.message)


def header_stamp_ns(header: Header) -> int:
    """Return the stamp of `header` in nanoseconds."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


def topic_name(camera: str, name: str) -> str:
    """Return the topic `name` of `camera`, which may have no namespace of its own."""
    return f"{camera}/{name}" if camera else name
