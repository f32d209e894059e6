"""The images of a folder or of a published data set as the frames of a drive."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from querydiff_core.data.data_sets.cityscapes import Cityscapes
from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.data_source import data_set
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.labelled_folder import IMAGE_ENDINGS
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.data.pairing import NamedFiles, Pair
from querydiff_core.errors import QueryDiffError

PAUSE_NS = 5 * 10**9
"""Between the last frame of a sequence and the first of the next: nothing moves from one to the other."""


class DriveFrame(NamedTuple):
    """`image` uint8 RGB `(H, W, 3)`, `labels` uint8 trainIds `(H, W)` or None, `condition` None if it is not known."""

    stamp_ns: int
    image: np.ndarray
    labels: np.ndarray | None
    condition: str | None


class CityscapesSequence(Cityscapes):
    """The snippets of 30 frames around the finely labelled images; of each, the 20th has labels."""

    name = "cityscapes_sequence"
    layout = """\
leftImg8bit_sequence/<split>/<city>/*_leftImg8bit.png
gtFine/<split>/<city>/*_gtFine_labelIds.png"""
    source = "https://www.cityscapes-dataset.com (leftImg8bit_sequence_trainvaltest.zip, gtFine_trainvaltest.zip)"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        (part,) = super().parts(root, split, condition)
        images = NamedFiles(root / "leftImg8bit_sequence" / split, ("_leftImg8bit",), (".png",))
        return [Part(images, part.labels)]


class DriveFrames:
    """Images with their labels and conditions as the frames of a drive, decoded one at a time.

    Args:
        pairs: files in the order of the drive.
        conditions: of each; None where it is not known.
        pauses: leave `PAUSE_NS` between sequences. One ends where the folder or the name before the frame number
            changes, and where consecutive frame numbers break off.
    """

    def __init__(self, pairs: LabelledPairs, conditions: Sequence[str | None], pauses: bool = False) -> None:
        self._pairs, self._conditions, self._pauses = pairs, conditions, pauses

    def __len__(self) -> int:
        return len(self._pairs)

    @property
    def labelled(self) -> int:
        """Return how many frames have labels."""
        return sum(pair.labels is not None for pair in self._pairs.pairs)

    def stamped(self, first_ns: int, rate: float) -> Iterator[DriveFrame]:
        """Decode the frames at `rate` Hz from `first_ns` on.

        Raises:
            QueryDiffError: if a file cannot be decoded or is not what its data set says.
        """
        origin, since = first_ns, 0
        for index, (condition, (image, labels, _)) in enumerate(zip(self._conditions, self._pairs, strict=True)):
            if self._pauses and self._starts_sequence(index):
                origin += round((since - 1) * 1e9 / rate) + PAUSE_NS
                since = 0
            yield DriveFrame(origin + round(since * 1e9 / rate), image, labels, condition)
            since += 1

    def _starts_sequence(self, index: int) -> bool:
        if index == 0:
            return False
        before, now = self._numbered(index - 1), self._numbered(index)
        if before[:2] != now[:2]:
            return True
        steady = index > 1 and self._numbered(index - 2)[2] == before[2] - 1
        return steady and now[2] != before[2] + 1

    def _numbered(self, index: int) -> tuple[Path, str, int]:
        """Return folder, name before the last number, and that number, of an image."""
        image = self._pairs.files(index).image
        name = next(image.stem.removesuffix(ending) for ending in IMAGE_ENDINGS if image.stem.endswith(ending))
        match = re.fullmatch(r"(.*?)(\d+)(\D*)", name)
        return (image.parent, match[1], int(match[2])) if match else (image.parent, "", index)


def data_set_frames(
    name: str,
    root: Path,
    split: str | None = None,
    condition: str | None = None,
    mapping: str | None = None,
    sparse: bool = False,
) -> DriveFrames:
    """Return the frames of a published data set.

    Args:
        name: `cityscapes_sequence`, or one of `querydiff data list`.
        root: folder that it was unpacked into.
        split: part of it, None for the first.
        condition: of sets that tell the weather only this; of others, what it was.
        mapping: what label values mean, of the set `folder` alone.
        sparse: images without labels become frames without ground truth, instead of being an error.

    Raises:
        QueryDiffError: if the folder is no such data set, or images have no labels or several.
    """
    is_sequence = name == CityscapesSequence.name
    reader: DataSet = CityscapesSequence() if is_sequence else data_set(name, mapping)
    pairs: list[Pair] = []
    conditions: list[str | None] = []
    for told in [condition] if condition or not reader.conditions else reader.known_conditions(root, split):
        found = _find(reader, root, split, told if reader.conditions else None, sparse or is_sequence)
        pairs += found
        conditions += [told] * len(found)
    decoder = LabelDecoder(reader.mapping(root), reader.refuses_values_outside)
    return DriveFrames(LabelledPairs(root, pairs, decoder), conditions, pauses=True)


def _find(reader: DataSet, root: Path, split: str | None, condition: str | None, sparse: bool) -> list[Pair]:
    if not sparse:
        return reader.open(root, split, condition).pairs
    found = reader.find(root, split, condition)
    if found.ambiguous:
        raise QueryDiffError(str(found.ambiguous[0]))
    pairs = found.pairs + [Pair(image, None) for image, _ in found.unlabelled]
    return sorted(pairs, key=lambda pair: pair.image)
