"""Check a data set before anyone waits for it: what is there, what is missing, damaged or out of place."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from querydiff_core.data.class_pixels import count_classes
from querydiff_core.data.data_sets.data_set import DataSet
from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.labelled_pairs import misfit
from querydiff_core.data.pairing import Pair, Pairing
from querydiff_core.errors import QueryDiffError, listed
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.image_files import ImageHead, image_head, read_stored_image
from querydiff_core.utils.parallel import each
from querydiff_core.utils.terminal import tracked


@dataclass
class PairCheck:
    """What was found in a pair.

    Attributes:
        size: (height, width) of the image; None if it is damaged.
        damage: what is wrong, a sentence each.
        misfit: why the labels do not lie on the image, in a sentence.
        class_pixels: int64 `(19,)`.
        unlabelled: pixels without a class.
        outside: label values outside the map and their pixels.
    """

    size: tuple[int, int] | None = None
    damage: list[str] = field(default_factory=list)
    misfit: str | None = None
    class_pixels: np.ndarray = field(default_factory=lambda: np.zeros(len(cityscapes()), np.int64))
    unlabelled: int = 0
    outside: dict[str, int] = field(default_factory=dict)

    @property
    def sound(self) -> bool:
        """Whether the pair can be read and used."""
        return not self.damage and self.misfit is None


@dataclass
class PartCheck:
    """What was found in one split and condition.

    Attributes:
        split: its name, "" for sets without splits.
        condition: its name, "" for sets that do not tell.
        labelled: number of images with labels.
        sound: pairs that can be read and used.
        sizes: number of images by (height, width).
        problems: what keeps the part from being used as it is, a sentence each.
        notes: what is good to know, a sentence each.
        class_pixels: int64 `(19,)` labelled pixels by class.
        class_images: int64 `(19,)` images that show a class.
        unlabelled: pixels without a class.
        outside: label values outside the map and their pixels.
    """

    split: str = ""
    condition: str = ""
    images: int = 0
    labelled: int = 0
    sound: list[Pair] = field(default_factory=list)
    sizes: Counter[tuple[int, int]] = field(default_factory=Counter)
    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    class_pixels: np.ndarray = field(default_factory=lambda: np.zeros(len(cityscapes()), np.int64))
    class_images: np.ndarray = field(default_factory=lambda: np.zeros(len(cityscapes()), np.int64))
    unlabelled: int = 0
    outside: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        """Split and condition in words."""
        return " ".join(filter(None, (self.split, self.condition))) or "all"


@dataclass(frozen=True)
class DataCheck:
    """Checks the parts of a data set.

    Attributes:
        reader: of the data set.
        root: folder that it was unpacked into.
        split: the only one to check; None is all that are there.
        condition: likewise.
        quick: look at names and sizes alone; nothing is decoded or counted.
        workers: threads.
    """

    reader: DataSet
    root: Path
    split: str | None = None
    condition: str | None = None
    quick: bool = False
    workers: int = 1

    def run(self) -> list[PartCheck]:
        """Check every part.

        Raises:
            QueryDiffError: if nothing of the data set is there, or its own configuration cannot be read.
        """
        self.reader.check_request(self.root, self.split, self.condition)
        decoder = LabelDecoder(self.reader.mapping(self.root))
        parts = []
        for split in [self.split] if self.split else self.reader.splits or [None]:
            for condition in [self.condition] if self.condition else self.reader.conditions or [None]:
                parts.append(PartCheck(split or "", condition or ""))
                self._fill(parts[-1], split, condition, decoder)
        if not any(part.images or self._has_images(part) for part in parts):
            layout = " ".join(self.reader.layout.split())
            raise QueryDiffError(
                f"{self.root} holds nothing of {self.reader.name} that was asked for: expected {layout}."
            )
        # Not every set has images of every condition.
        return [part for part in parts if part.images or part.problems or part.notes]

    def _fill(self, part: PartCheck, split: str | None, condition: str | None, decoder: LabelDecoder) -> None:
        try:
            pairing = self.reader.find(self.root, split, condition)
        except QueryDiffError as error:
            self._without_files(part, error)
        else:
            self._check(part, pairing, decoder)

    def _without_files(self, part: PartCheck, error: QueryDiffError) -> None:
        """A part that was never unpacked is worth a note, unless it was asked for; half a part is a problem."""
        wanted = self.split or not self.reader.splits or self._has_images(part)
        (part.problems if wanted else part.notes).append(str(error))

    def _has_images(self, part: PartCheck) -> bool:
        return self.reader.has_images(self.root, part.split or None, part.condition or None)

    def _check(self, part: PartCheck, pairing: Pairing, decoder: LabelDecoder) -> None:
        part.labelled = sum(pair.labels is not None for pair in pairing.pairs)
        part.images = pairing.images
        part.problems += [f"{image} has no labels: none is named {name}." for image, name in pairing.unlabelled]
        part.problems += map(str, pairing.ambiguous)
        if pairing.unused:
            part.notes.append(f"{len(pairing.unused)} label files have no image, first {pairing.unused[0]}.")

        def check(pair: Pair) -> PairCheck:
            return check_pair(pair, decoder, self.quick)

        checks = tracked(each(check, pairing.pairs, self.workers), part.name, len(pairing.pairs))
        for pair, found in zip(pairing.pairs, checks, strict=True):
            self._add(part, pair, found)
        self._conclude(part)

    def _add(self, part: PartCheck, pair: Pair, found: PairCheck) -> None:
        part.problems += found.damage
        part.sound += [pair] if found.sound else []
        part.class_pixels += found.class_pixels
        part.class_images += found.class_pixels > 0
        part.unlabelled += found.unlabelled
        part.outside.update(found.outside)
        if found.size:
            part.sizes[found.size] += 1
        if found.misfit:
            skipped = self.reader.leaves_out_other_sizes
            (part.notes if skipped else part.problems).append(found.misfit + (" It is left out." * skipped))
        if found.outside and self.reader.refuses_values_outside:
            part.problems.append(f"{pair.labels} holds values outside the map: {listed(found.outside)}.")

    def _conclude(self, part: PartCheck) -> None:
        if not part.images:
            part.notes.append(f"No image of {part.name}.")
        elif not part.labelled and not part.problems:
            part.notes.append(f"No image of {part.name} has labels.")
        if part.outside and not self.reader.refuses_values_outside:
            values = listed([f"{value} ({pixels:,} pixels)" for value, pixels in part.outside.most_common()])
            part.notes.append(f"Label values outside the map count as unlabelled: {values}.")
        if part.labelled and not self.quick and not part.class_pixels.any():
            part.problems.append(f"No pixel of {part.name} has a class: the labels do not fit the map.")


def check_pair(pair: Pair, decoder: LabelDecoder, quick: bool) -> PairCheck:
    """Check `pair`; `quick` reads the heads of the files alone."""
    found = PairCheck()
    label_size = None
    try:
        head = image_head(pair.image) if quick else _decoded_head(pair.image)
        found.size = head.size
    except QueryDiffError as error:
        found.damage.append(str(error))
    try:
        if pair.labels is not None:
            label_size = image_head(pair.labels).size if quick else _count(found, decoder, pair.labels)
    except QueryDiffError as error:
        found.damage.append(str(error))
    if found.size and label_size:
        found.misfit = misfit(pair, head, label_size)
    return found


def _decoded_head(file: Path) -> ImageHead:
    image, orientation = read_stored_image(file)
    return ImageHead(image.shape[:2], orientation)


def _count(found: PairCheck, decoder: LabelDecoder, file: Path) -> tuple[int, ...]:
    """Add what the labels hold to `found` and return their size."""
    train_ids, found.outside = decoder.decode(file)
    found.class_pixels = count_classes(train_ids)
    found.unlabelled = int(train_ids.size - found.class_pixels.sum())
    return train_ids.shape
