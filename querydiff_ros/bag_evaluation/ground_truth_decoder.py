"""Read ground-truth messages, and say what is wrong with one."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import LabelMapping

ENCODINGS = ("mono8", "8UC1")
SHOWN_VALUES = 5


class GroundTruthDecoder:
    """Turn label messages of the topic `where` into trainIds.

    Args:
        mapping: what the values mean.
        where: bag and topic, as sentences name them.
    """

    def __init__(self, mapping: LabelMapping, where: str) -> None:
        self._mapping, self._where = mapping, where

    def __call__(self, message: Any, size: tuple[int, int]) -> np.ndarray:
        """Return the labels, uint8 trainIds `(H, W)`, of a `sensor_msgs/Image` for a frame of `size` (H, W).

        Raises:
            QueryDiffError: if encoding, size, data or values are not those of labels.
        """
        if message.encoding not in ENCODINGS:
            raise QueryDiffError(
                f"{self._where} has encoding {message.encoding!r}: expected mono8, one class id a pixel."
            )
        if (message.height, message.width) != size:
            raise QueryDiffError(
                f"{self._where} has label images of {message.width}x{message.height} and its camera has images of "
                f"{size[1]}x{size[0]}: they must be equal."
            )
        if len(message.data) != message.height * message.step or message.step < message.width:
            raise QueryDiffError(
                f"{self._where} has a label image of {len(message.data)} bytes; {message.height} rows of "
                f"{message.step} bytes are expected."
            )
        values = np.frombuffer(message.data, np.uint8).reshape(message.height, message.step)[:, : message.width]
        self._check_values(values)
        return np.asarray(cv2.LUT(values, self._mapping.table))

    def _check_values(self, values: np.ndarray) -> None:
        known = self._mapping.known
        counts = np.bincount(values.ravel(), minlength=256)
        outside = [f"{value} ({counts[value]} pixels)" for value in np.flatnonzero(counts) if not known[value]]
        if outside:
            shown = ", ".join(outside[:SHOWN_VALUES]) + (", ..." if len(outside) > SHOWN_VALUES else "")
            raise QueryDiffError(
                f"{self._where} holds values that the mapping {self._mapping.name} does not have: {shown}; choose "
                "another --mapping."
            )
