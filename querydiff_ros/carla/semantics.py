"""CARLA's semantic images: from messages to trainIds, and from trainIds to pixels as CARLA would paint them."""

from __future__ import annotations

import numpy as np
from sensor_msgs.msg import Image

from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.errors import QueryDiffError, listed
from querydiff_core.label_space import LabelMapping
from querydiff_ros.carla.interface import CarlaInterface
from querydiff_ros.common.image_conversions import ENCODINGS, BadFrame, stored_pixels


class SemanticDecoder:
    """Read the semantic images of one interface, and refuse those of another."""

    def __init__(self, interface: CarlaInterface) -> None:
        self._interface = interface
        self._decoder = LabelDecoder(interface.mapping)

    def __call__(self, message: Image, topic: str) -> np.ndarray:
        """Return the trainIds in `message`, uint8 `(H, W)`.

        Raises:
            QueryDiffError: names `topic`, if the message is no sound `bgra8` image, or its colours or tags are not
                those of the interface; then also which and how many pixels they have.
        """
        rgb = _rgb(message, topic)
        painted = bool(rgb[..., 1:].any())  # a tag is red alone
        if painted != self._interface.painted and rgb.any():
            raise QueryDiffError(self._wrong_kind(rgb, topic))
        train_ids, unknown = self._decoder.decode_pixels(rgb, topic)
        if unknown:
            raise QueryDiffError(
                f"{topic}: {sum(unknown.values())} of {train_ids.size} pixels are not in the table of CARLA "
                f"{self._interface.version} ({_listed(unknown)}): give the carla_version that is running."
            )
        return train_ids

    def _wrong_kind(self, rgb: np.ndarray, topic: str) -> str:
        expected, found = "tags in the red channel", "colours"
        if self._interface.painted:
            expected, found = "colours of the CityScapes palette", "tags in the red channel"
        colors, counts = np.unique(rgb.reshape(-1, 3), axis=0, return_counts=True)
        pixels = {f"RGB {r} {g} {b}": int(n) for (r, g, b), n in zip(colors.tolist(), counts, strict=True)}
        return (
            f"{topic}: expected {expected} from {self._interface.name}, found {found} ({_listed(pixels)}): give the "
            "carla_version that is running."
        )


def semantic_pixels(train_ids: np.ndarray, road_lines: np.ndarray, interface: CarlaInterface) -> np.ndarray:
    """Return what CARLA would publish for uint8 `train_ids` `(H, W)`: uint8 BGRA `(H, W, 4)`.

    Unlabelled pixels become tag 0. `road_lines`: bool `(H, W)`, where the tag is RoadLine, which scores as road.
    """
    mapping = interface.mapping
    tags = _tag_table(mapping)[train_ids]
    tags[road_lines] = _road_line_tag(mapping)
    pixels = np.full((*tags.shape, 4), 255, np.uint8)
    pixels[..., :3] = _colors(mapping)[tags] if interface.painted else 0
    if not interface.painted:
        pixels[..., 2] = tags
    return pixels


def _rgb(message: Image, topic: str) -> np.ndarray:
    if message.encoding != "bgra8":
        raise QueryDiffError(f"{topic}: expected the encoding bgra8, found {message.encoding!r}.")
    try:
        return stored_pixels(message, ENCODINGS["bgra8"])[..., 2::-1]
    except BadFrame as reason:
        raise QueryDiffError(f"{topic} {reason}.") from reason


def _listed(pixels: dict[str, int]) -> str:
    most = sorted(pixels.items(), key=lambda item: -item[1])
    return listed([f"{name}: {count} pixels" for name, count in most])


def _tag_table(mapping: LabelMapping) -> np.ndarray:
    """Return trainId to tag, uint8 `(256,)`; a class without a tag takes that of a class it is merged with."""
    table, road_line = np.zeros(256, np.uint8), _road_line_tag(mapping)
    tags = {train_id: tag for tag, train_id in mapping.to_train_id.items() if tag != road_line}
    for _, merged in mapping.score_classes:
        known = [tags[train_id] for train_id in merged if train_id in tags]
        for train_id in merged:
            table[train_id] = tags.get(train_id, known[0])
    return table


def _road_line_tag(mapping: LabelMapping) -> int:
    """Return the tag of RoadLine, told by its colour, which never changed."""
    return next(tag for color, tag in mapping.colors if color == (157, 234, 50))


def _colors(mapping: LabelMapping) -> np.ndarray:
    table = np.zeros((256, 3), np.uint8)  # BGR
    for color, tag in mapping.colors:
        table[tag] = color[::-1]
    return table
