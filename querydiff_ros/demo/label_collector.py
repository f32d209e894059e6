"""Keep what the node answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from diagnostic_msgs.msg import DiagnosticArray
from sensor_msgs.msg import Image

from querydiff_ros.common.image_conversions import mono8_pixels
from querydiff_ros.common.stamps import header_stamp_ns

if TYPE_CHECKING:
    from rclpy.node import Node


class LabelCollector:
    """Subscribe to one camera's labels and confidence and to the node's diagnostics, and keep them compressed.

    Attributes:
        diagnostics: the newest values of the node about its engine and this camera.
    """

    def __init__(self, node: Node, camera: str) -> None:
        self._camera = camera
        self._labels: dict[int, bytes] = {}
        self._confidence: dict[int, bytes] = {}
        self.diagnostics: dict[str, str] = {}
        node.create_subscription(Image, f"{camera}/label", lambda m: _keep(self._labels, m, ".png"), 10)
        node.create_subscription(Image, f"{camera}/confidence", lambda m: _keep(self._confidence, m, ".jpg"), 10)
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 10)

    def __len__(self) -> int:
        """Return the number of frames that are labelled."""
        return len(self._labels)

    def complete(self, frames: int) -> bool:
        """Tell whether labels and confidence of `frames` frames are here, and the diagnostics know of all of them."""
        known = int(self.diagnostics.get("frames_labelled", 0))
        return min(len(self._labels), len(self._confidence), known) >= frames

    def labels(self, stamp_ns: int) -> np.ndarray | None:
        """Return the labels of the frame of that stamp, uint8 `(H, W)`, or None if it got none."""
        return _unpack(self._labels.get(stamp_ns))

    def confidence(self, stamp_ns: int) -> np.ndarray | None:
        """Return the confidence of the frame of that stamp, uint8 `(H, W)`, nearly lossless, or None."""
        return _unpack(self._confidence.get(stamp_ns))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name.endswith((": engine", f": {self._camera or 'camera'}")):
                self.diagnostics |= {value.key: value.value for value in status.values}


def _keep(store: dict[int, bytes], message: Image, suffix: str) -> None:
    # Hundreds of frames at a camera's size would fill the memory.
    _, data = cv2.imencode(suffix, mono8_pixels(message))
    store[header_stamp_ns(message.header)] = data.tobytes()


def _unpack(data: bytes | None) -> np.ndarray | None:
    return None if data is None else cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_GRAYSCALE)
