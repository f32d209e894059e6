"""Check one image and its labels: do they decode, do their sizes agree, what do the labels hold."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from querydiff_core.data.class_pixels import count_classes
from querydiff_core.data.image_size import image_size
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.pairing import Pair
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import cityscapes


@dataclass
class PairCheck:
    """What was found in a pair.

    Attributes:
        size: (height, width) of the image; None if it is damaged.
        damage: what is wrong, a sentence each.
        other_size: that the labels have another size, in a sentence.
        class_pixels: int64 `(19,)`.
        unlabelled: pixels without a class.
        outside: label values outside the map and their pixels.
    """

    size: tuple[int, int] | None = None
    damage: list[str] = field(default_factory=list)
    other_size: str | None = None
    class_pixels: np.ndarray = field(default_factory=lambda: np.zeros(len(cityscapes()), np.int64))
    unlabelled: int = 0
    outside: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether the pair can be read and used."""
        return not self.damage and self.other_size is None


def check_pair(pair: Pair, decoder: LabelDecoder, quick: bool) -> PairCheck:
    """Check `pair`; `quick` reads the heads of the files alone."""
    found = PairCheck()
    label_size = None
    try:
        found.size = _whole_size(pair.image, quick)
    except QueryDiffError as error:
        found.damage.append(str(error))
    try:
        if pair.labels is not None:
            label_size = _whole_size(pair.labels, quick)
            if not quick:
                _count(found, decoder, pair.labels)
    except QueryDiffError as error:
        found.damage.append(str(error))
    if found.size and label_size and found.size != label_size:
        found.other_size = f"{pair.labels}: labels are {words(label_size)} and their image is {words(found.size)}."
    return found


def words(size: tuple[int, int]) -> str:
    """Return (height, width) as people write it."""
    return f"{size[1]} x {size[0]}"


def _whole_size(file: Path, quick: bool) -> tuple[int, int]:
    """Return the size; unless `quick`, decode with Pillow, since OpenCV takes a truncated JPEG for a whole one."""
    if quick:
        return image_size(file)
    from PIL import Image  # noqa: PLC0415 - Pillow comes with the `train` extra

    try:
        with Image.open(file) as image:
            image.load()
            return image.height, image.width
    except (OSError, SyntaxError, ValueError) as error:  # Pillow raises SyntaxError for broken PNG chunks
        why = " ".join(str(error).split())
        raise QueryDiffError(f"{file} is damaged: {why if file.name not in why else 'it is no image'}.") from error


def _count(found: PairCheck, decoder: LabelDecoder, file: Path) -> None:
    train_ids, found.outside = decoder.decode(file)
    found.class_pixels = count_classes(train_ids)
    found.unlabelled = int(train_ids.size - found.class_pixels.sum())
