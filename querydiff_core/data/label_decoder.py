"""Turn label files of any label set into trainIds, and find values that their label set does not have."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from querydiff_core.data.label_file import read_label_file
from querydiff_core.errors import QueryDiffError, listed
from querydiff_core.label_space import UNLABELLED, LabelMapping
from querydiff_core.utils.image_files import image_head

UNLABELLED_16_BIT = 65535


class DecodedLabels(NamedTuple):
    """`train_ids` uint8 `(H, W)`; `outside`: values outside the map, by name, and their numbers of pixels."""

    train_ids: np.ndarray
    outside: dict[str, int]


class LabelDecoder:
    """Read label files as `mapping` says.

    Files of one channel hold values; files of several hold the value in the first channel (`first_channel`) or are
    painted (`colors`); where a label set comes in both forms, files whose other channels are empty are not painted.

    Args:
        mapping: what the values mean.
        strict: raise for values outside the map instead of taking them as unlabelled.
    """

    def __init__(self, mapping: LabelMapping, strict: bool = False) -> None:
        self.mapping, self.strict = mapping, strict
        colors = sorted((_packed_color(rgb), value) for rgb, value in mapping.colors)
        self._colors = np.array([color for color, _ in colors], np.uint32)
        self._color_values = np.array([value for _, value in colors], np.uint8)

    def __call__(self, file: Path) -> np.ndarray:
        """Return the labels in `file`, uint8 trainIds `(H, W)`.

        Raises:
            QueryDiffError: if the file cannot be decoded or, where strict, holds values outside the map.
        """
        return self.checked(file).train_ids

    def checked(self, file: Path) -> DecodedLabels:
        """Return the labels in `file` and what is outside the map, which is empty where strict.

        Raises:
            QueryDiffError: as a call does.
        """
        decoded = self.decode(file)
        if decoded.outside and self.strict:
            raise QueryDiffError(
                f"{file} holds values that the mapping {self.mapping.name} does not have ({listed(decoded.outside)}): "
                "list them under `to_train_id` or `unlabelled`, or choose another mapping."
            )
        return decoded

    def decode(self, file: Path) -> DecodedLabels:
        """Return the labels in `file` and what is outside the map, with or without `strict`.

        Raises:
            QueryDiffError: if the file cannot be decoded, its format changes values, or it holds neither values nor
                what is painted as the mapping says.
        """
        if image_head(file).lossy:
            raise QueryDiffError(
                f"{file} is compressed as photos are, which changes the values of labels: export it again as PNG."
            )
        return self.decode_pixels(read_label_file(file), file)

    def decode_pixels(self, stored: np.ndarray, source: object) -> DecodedLabels:
        """Return the labels in `stored` `(H, W)` or RGB `(H, W, 3)`, named `source` in errors; else as `decode`."""
        if self._is_painted(stored):
            return self._decode_colors(stored)
        return self._decode_values(self._only_channel(stored, source))

    def _is_painted(self, stored: np.ndarray) -> bool:
        if stored.ndim == 2 or not self.mapping.colors:
            return False
        return not self.mapping.first_channel or bool(stored[..., 1:3].any())

    def _only_channel(self, stored: np.ndarray, source: object) -> np.ndarray:
        if stored.ndim == 3 and self.mapping.first_channel:
            return np.ascontiguousarray(stored[..., 0])
        if stored.ndim != 2:
            equal = bool((stored[..., :1] == stored[..., 1:3]).all())
            raise QueryDiffError(
                f"{source}: expected one channel of class ids, found {stored.dtype} of shape {stored.shape}; "
                + (
                    "all channels are equal, which a mapping with `first_channel: true` reads."
                    if equal
                    else "labels that are painted need a mapping with `colors`."
                )
            )
        return stored

    def _decode_values(self, values: np.ndarray) -> DecodedLabels:
        outside: dict[str, int] = {}
        if values.dtype == np.uint16:
            large = values[(values > 255) & (values != UNLABELLED_16_BIT)]
            outside = {str(value): count for value, count in _counts(large)}
            values = np.minimum(values, UNLABELLED).astype(np.uint8)
        known = cv2.LUT(values, self.mapping.known)
        if not known.all():
            outside = {**{str(value): count for value, count in _counts(values[known == 0])}, **outside}
        return DecodedLabels(cv2.LUT(values, self.mapping.table), outside)

    def _decode_colors(self, stored: np.ndarray) -> DecodedLabels:
        red, green, blue = (stored[..., channel].astype(np.uint32) for channel in range(3))
        codes = red << 16 | green << 8 | blue  # (H, W)
        position = np.searchsorted(self._colors, codes).clip(max=len(self._colors) - 1)
        known = self._colors[position] == codes
        train_ids = np.where(known, self.mapping.table[self._color_values[position]], np.uint8(UNLABELLED))
        outside = {_color_name(code): count for code, count in _counts(codes[~known])}
        return DecodedLabels(train_ids, outside)


def _counts(values: np.ndarray) -> list[tuple[int, int]]:
    found, counts = np.unique(values, return_counts=True)
    return list(zip(found.tolist(), counts.tolist(), strict=True))


def _packed_color(rgb: tuple[int, int, int]) -> int:
    return rgb[0] << 16 | rgb[1] << 8 | rgb[2]


def _color_name(code: int) -> str:
    return f"RGB {code >> 16} {code >> 8 & 255} {code & 255}"
