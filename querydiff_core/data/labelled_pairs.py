"""Images and their labels as a sequence, decoded when they are asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.pairing import Pair
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import LabelMapping
from querydiff_core.utils.image_files import UPRIGHT, ImageHead, read_stored_image, upright

QUARTER_TURNS = (5, 6, 7, 8)
"""Orientations that swap height and width."""


class LabelledImage(NamedTuple):
    """`image` uint8 RGB `(H, W, 3)`, `labels` uint8 trainIds `(H, W)` or None, `stem` the image's path without suffix.

    `stem` is relative to the root of the data set.
    """

    image: np.ndarray
    labels: np.ndarray | None
    stem: str


class LabelledPairs:
    """A sequence of `LabelledImage`; it is pickled to loader processes and holds no open file.

    Args:
        root: folder that all images are below.
        pairs: files of images and labels.
        decoder: reads the label files.
    """

    def __init__(self, root: Path, pairs: Sequence[Pair], decoder: LabelDecoder) -> None:
        self.root, self.pairs, self.decoder = root, list(pairs), decoder

    @property
    def mapping(self) -> LabelMapping:
        """What the values of the label files mean."""
        return self.decoder.mapping

    @property
    def labelled(self) -> bool:
        """Whether every image has labels."""
        return all(pair.labels is not None for pair in self.pairs)

    def __len__(self) -> int:
        return len(self.pairs)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Decode one pair after the other."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> LabelledImage:
        """Decode pair `index`.

        Raises:
            QueryDiffError: if a file cannot be decoded, the labels are no ids of the mapping, or the sizes differ.
        """
        return self.read(index)[0]

    def read(self, index: int) -> tuple[LabelledImage, Collection[str]]:
        """Decode pair `index`; return it and the label values that the mapping does not have.

        Raises:
            QueryDiffError: as indexing does.
        """
        file, label_file = self.pairs[index]
        stored, orientation = read_stored_image(file)
        stem = file.relative_to(self.root).with_suffix("").as_posix()
        if label_file is None:
            return LabelledImage(upright(stored, orientation), None, stem), ()
        decoded = self.decoder.checked(label_file)
        head = ImageHead(stored.shape[:2], orientation)
        if problem := misfit(Pair(file, label_file), head, decoded.train_ids.shape):
            raise QueryDiffError(problem)
        return LabelledImage(stored, decoded.train_ids, stem), decoded.outside.keys()

    def files(self, index: int) -> Pair:
        """Return the files of pair `index`: image, and labels or None."""
        return self.pairs[index]

    def labels(self, index: int) -> np.ndarray | None:
        """Return the labels of pair `index` alone, uint8 trainIds `(H, W)`, without decoding the image.

        Raises:
            QueryDiffError: if the file cannot be decoded or the labels are no ids of the mapping.
        """
        file = self.pairs[index].labels
        return None if file is None else self.decoder(file)


def misfit(pair: Pair, image: ImageHead, labels: tuple[int, ...]) -> str | None:
    """Return why labels of the size (height, width) do not lie on an image as it is stored, in a sentence, or None.

    Labels are drawn on what a viewer shows. Where a tag says that this is turned, only another size proves that they
    were drawn on what is stored.
    """
    turned = image.size[::-1] if image.orientation in QUARTER_TURNS else image.size
    if image.orientation != UPRIGHT and labels == turned:
        return (
            f"{pair.image} has an orientation tag ({image.orientation}) that turns or mirrors it, and its labels may "
            "have been drawn either way: store the image as it is shown (`mogrify -auto-orient`), or remove the tag."
        )
    if labels != image.size:
        return f"{pair.labels}: labels are {words(labels)} and their image is {words(image.size)}."
    return None


def words(size: tuple[int, ...]) -> str:
    """Return (height, width) as people write it."""
    return f"{size[1]} x {size[0]}"
