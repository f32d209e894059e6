"""Pair image files with label files by name, and say what does not pair."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from querydiff_core.errors import QueryDiffError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class Pair(NamedTuple):
    """The files of an image and its labels; None for an image of a part that comes without labels."""

    image: Path
    labels: Path | None


@dataclass(frozen=True)
class NamedFiles:
    """The files below `folder` whose names end as one of `endings` and `suffixes` say.

    What is left of the path below `folder` is the name that an image and its labels share. The empty ending takes
    every file; the first ending that fits counts.
    """

    folder: Path
    endings: tuple[str, ...] = ("",)
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES

    def find(self) -> dict[str, list[Path]]:
        """Return the files by name, in the order of their paths.

        Raises:
            QueryDiffError: if there is no such folder, or no such file in it.
        """
        if not self.folder.is_dir():
            raise QueryDiffError(f"No folder {self.folder}: expected a folder of images.")
        found: dict[str, list[Path]] = {}
        for file in sorted(f for f in self.folder.rglob("*") if f.suffix.lower() in self.suffixes and f.is_file()):
            ending = next((e for e in self.endings if file.stem.endswith(e)), None)
            # Names with a dot first are what macOS leaves beside files that it unpacks.
            if ending is not None and not file.name.startswith("."):
                found.setdefault(self._name(file, ending), []).append(file)
        if not found:
            raise QueryDiffError(f"{self.folder} holds no image: expected files ending in {self.expected}.")
        return found

    @property
    def expected(self) -> str:
        """How the file names end, in words."""
        return " ".join(ending + suffix for ending in self.endings for suffix in self.suffixes)

    def _name(self, file: Path, ending: str) -> str:
        return file.relative_to(self.folder).with_name(file.stem.removesuffix(ending) or file.stem).as_posix()


@dataclass
class Pairing:
    """What was found.

    Attributes:
        pairs: images with their labels; with None in parts without labels.
        unlabelled: images whose labels are missing, and the name that was looked for.
        ambiguous: images that several label files belong to.
        unused: label files that belong to no image.
    """

    pairs: list[Pair] = field(default_factory=list)
    unlabelled: list[tuple[Path, str]] = field(default_factory=list)
    ambiguous: list[tuple[Path, list[Path]]] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)

    def __add__(self, other: Pairing) -> Pairing:
        """Return what both have found."""
        return Pairing(
            self.pairs + other.pairs,
            self.unlabelled + other.unlabelled,
            self.ambiguous + other.ambiguous,
            self.unused + other.unused,
        )

    def only(self, wanted: Callable[[Path], bool]) -> Pairing:
        """Return what is left of the images, and of the label files without one, that are `wanted`."""
        return Pairing(
            [pair for pair in self.pairs if wanted(pair.image)],
            [(image, name) for image, name in self.unlabelled if wanted(image)],
            [(image, files) for image, files in self.ambiguous if wanted(image)],
            [file for file in self.unused if wanted(file)],
        )


def pair_files(images: NamedFiles, labels: NamedFiles | None) -> Pairing:
    """Pair the files of `images`, in the order of their paths, with those of `labels`.

    Raises:
        QueryDiffError: if a folder is missing or holds no such file.
    """
    by_name = images.find()
    found = Pairing()
    if labels is None:
        found.pairs = [Pair(image, None) for files in by_name.values() for image in files]
        return found
    labels_by_name = labels.find()
    for name, files in by_name.items():
        candidates = labels_by_name.pop(name, [])
        for image in files:
            _add(found, image, name, candidates)
    found.unused = [file for files in labels_by_name.values() for file in files]
    return found


def _add(found: Pairing, image: Path, name: str, candidates: list[Path]) -> None:
    if not candidates:
        found.unlabelled.append((image, name))
    elif len(candidates) > 1:
        found.ambiguous.append((image, candidates))
    else:
        found.pairs.append(Pair(image, candidates[0]))
