"""A frame as it arrived, not yet opened."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header

from querydiff_ros.common.compressed_images import rgb_from_compressed
from querydiff_ros.common.image_conversions import holds_16_bits, rgb_from_image
from querydiff_ros.common.stamps import header_stamp_ns


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
