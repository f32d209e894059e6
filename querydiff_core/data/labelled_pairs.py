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
from querydiff_core.utils.image_files import read_image


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
        image, decoded = read_image(file), None if label_file is None else self.decoder.checked(label_file)
        labels = None if decoded is None else decoded.train_ids
        if labels is not None and labels.shape != image.shape[:2]:
            raise QueryDiffError(
                f"{label_file}: labels are {labels.shape} and their image is {image.shape[:2]}; they must be equal."
            )
        stem = file.relative_to(self.root).with_suffix("").as_posix()
        return LabelledImage(image, labels, stem), decoded.outside.keys() if decoded else ()

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
