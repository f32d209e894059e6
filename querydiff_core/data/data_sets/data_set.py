"""What all data sets share: finding the pairs of a split and a condition, and refusing what does not fit."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, NamedTuple

from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.data.pairing import NamedFiles, Pairing, pair_files
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import LabelMapping, label_mapping


class Part(NamedTuple):
    """A folder of images and its folder of labels; None where images come without labels."""

    images: NamedFiles
    labels: NamedFiles | None


class DataSet(ABC):
    """A published data set; subclasses say where its files are.

    Attributes:
        name: in YAML and on the command line.
        title: the data set's own name and its paper.
        layout: paths below the root, one a line.
        splits: parts, the first is the default; empty for a set without parts.
        conditions: weather and light that can be asked for; empty for a set that does not tell.
        mapping_name: bundled label mapping.
        source: where to get it.
        terms: what its licence asks for, in a few words.
        leaves_out_other_sizes: pairs whose sizes differ are known of and left out, instead of being an error.
        refuses_values_outside: label values outside the map are an error, instead of unlabelled.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    layout: ClassVar[str]
    source: ClassVar[str]
    terms: ClassVar[str]
    splits: ClassVar[tuple[str, ...]] = ()
    conditions: ClassVar[tuple[str, ...]] = ()
    mapping_name: ClassVar[str]
    leaves_out_other_sizes: ClassVar[bool] = False
    refuses_values_outside: ClassVar[bool] = False

    @abstractmethod
    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folders that hold a split ("" for a set without splits) and a condition (None: all)."""

    def mapping(self, root: Path) -> LabelMapping:
        """Return what the values in the label files below `root` mean."""
        return label_mapping(self.mapping_name)

    def find(self, root: Path, split: str | None = None, condition: str | None = None) -> Pairing:
        """Pair the files of a split and a condition; nothing is decoded.

        Raises:
            QueryDiffError: for a folder that is missing or holds no image, an unknown split or condition.
        """
        self.check_request(root, split, condition)
        found = Pairing()
        for part in self.parts(root, self._known_split(split), condition):
            found += self._pair(root, part)
        return found

    def open(self, root: Path, split: str | None = None, condition: str | None = None) -> LabelledPairs:
        """Open a split and a condition.

        Raises:
            QueryDiffError: as `find`, or if an image has no labels or several.
        """
        found = self.find(root, split, condition)
        if broken := found.images - len(found.pairs):
            first = [image for image, _ in found.unlabelled] + [group.images[0] for group in found.ambiguous]
            raise QueryDiffError(
                f"{broken} of {found.images} images of {self.name} in {root} have no labels of their "
                f"own or several, first {first[0]}: `querydiff data check {self.name} {root}` lists them."
            )
        if not found.pairs:
            raise QueryDiffError(f"{root} holds no image of {self.name} for {condition or split or 'training'}.")
        return LabelledPairs(root, found.pairs, LabelDecoder(self.mapping(root), self.refuses_values_outside))

    def known_conditions(self, root: Path, split: str | None = None) -> list[str]:
        """Return the conditions that the split has images of; all where it has none, whose errors say more.

        Raises:
            QueryDiffError: as `find`.
        """
        self.check_request(root, split, None)
        unpacked = [condition for condition in self.conditions if self.has_images(root, split, condition)]
        told = [condition for condition in unpacked if self.find(root, split, condition).pairs]
        return told or list(self.conditions)

    def has_images(self, root: Path, split: str | None = None, condition: str | None = None) -> bool:
        """Return whether a folder for images of the split and the condition is there."""
        parts = self.parts(root, self._known_split(split), condition)
        return any(part.images.folder.is_dir() for part in parts)

    def check_request(self, root: Path, split: str | None, condition: str | None) -> None:
        """Refuse an unknown split or condition, and a root that is no folder."""
        self._known_split(split)
        if condition is not None and condition not in self.conditions:
            expected = f"expected one of {', '.join(self.conditions)}" if self.conditions else "leave it out"
            raise QueryDiffError(f"{self.name} has no condition {condition}: {expected}.")
        if not root.is_dir():
            holds = self.layout.split()[0]
            raise QueryDiffError(f"No folder {root}: expected the root of {self.name}, which holds {holds}.")

    def _pair(self, root: Path, part: Part) -> Pairing:
        for files, what in ((part.images, "images"), (part.labels, "labels")):
            if files is not None and not files.folder.is_dir():
                raise QueryDiffError(
                    f"No folder {files.folder}: the {what} of data set {self.name} are expected there; `querydiff data "
                    "list` shows the layout."
                )
        return pair_files(part.images, part.labels)

    def _known_split(self, split: str | None) -> str:
        if split is None:
            return self.splits[0] if self.splits else ""
        if split not in self.splits:
            expected = f"expected one of {', '.join(self.splits)}" if self.splits else "it has no splits, leave it out"
            raise QueryDiffError(f"{self.name} has no split {split}: {expected}.")
        return split
