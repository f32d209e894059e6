"""Pair image files with label files by name, and say what does not pair."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from querydiff_core.errors import QueryDiffError

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")


class Pair(NamedTuple):
    """The files of an image and its labels; None for an image of a part that comes without labels."""

    image: Path
    labels: Path | None


class Ambiguous(NamedTuple):
    """Images and label files of one name, of which there must be one each."""

    images: list[Path]
    labels: list[Path]

    def __str__(self) -> str:
        """Say what was found."""
        found = " and ".join(file.name for file in self.labels)
        if len(self.images) == 1:
            return f"{self.images[0]}: expected one label image, found {found}."
        others = " and ".join(image.name for image in self.images[1:])
        return f"{self.images[0]}: {others} of the same name would share its labels {found}; keep one of the images."


@dataclass(frozen=True)
class NamedFiles:
    """The files below `folder` whose names end as one of `endings` and `suffixes` say.

    What is left of the path below `folder` is the name that an image and its labels share. The empty ending takes
    every file; the first ending that fits counts.
    """

    folder: Path
    endings: tuple[str, ...] = ("",)
    suffixes: tuple[str, ...] = IMAGE_SUFFIXES

    def find(self) -> list[Path]:
        """Return the files in the order of their paths.

        Raises:
            QueryDiffError: if there is no such folder, it cannot be read, or it holds no such file.
        """
        if not self.folder.is_dir():
            raise QueryDiffError(f"No folder {self.folder}: expected a folder of images.")
        found = [file for file in files_below(self.folder, self.suffixes) if file.stem.endswith(self.endings)]
        if not found:
            raise QueryDiffError(f"{self.folder} holds no image: expected files ending in {self.expected}.")
        return found

    @property
    def expected(self) -> str:
        """How the file names end, in words."""
        return " ".join(ending + suffix for ending in self.endings for suffix in self.suffixes)

    def full_name(self, file: Path) -> str:
        """Return the path of `file` below the folder, without its suffix."""
        return file.relative_to(self.folder).with_suffix("").as_posix()

    def shared_name(self, file: Path) -> str:
        """Return the full name without its ending, where that leaves anything."""
        ending = next(ending for ending in self.endings if file.stem.endswith(ending))
        return file.relative_to(self.folder).with_name(file.stem.removesuffix(ending) or file.stem).as_posix()


@dataclass
class Pairing:
    """What was found.

    Attributes:
        pairs: images with their labels; with None in parts without labels.
        unlabelled: images whose labels are missing, and the name that was looked for.
        ambiguous: what could pair in several ways.
        unused: label files that belong to no image.
    """

    pairs: list[Pair] = field(default_factory=list)
    unlabelled: list[tuple[Path, str]] = field(default_factory=list)
    ambiguous: list[Ambiguous] = field(default_factory=list)
    unused: list[Path] = field(default_factory=list)

    def __add__(self, other: Pairing) -> Pairing:
        """Return what both have found."""
        return Pairing(
            self.pairs + other.pairs,
            self.unlabelled + other.unlabelled,
            self.ambiguous + other.ambiguous,
            self.unused + other.unused,
        )

    @property
    def images(self) -> int:
        """How many images were found."""
        return len(self.pairs) + len(self.unlabelled) + sum(len(group.images) for group in self.ambiguous)

    def only(self, wanted: Callable[[Path], bool]) -> Pairing:
        """Return what is left of the images, and of the label files without one, that are `wanted`."""
        return Pairing(
            [pair for pair in self.pairs if wanted(pair.image)],
            [(image, name) for image, name in self.unlabelled if wanted(image)],
            [group for group in self.ambiguous if wanted(group.images[0])],
            [file for file in self.unused if wanted(file)],
        )


def pair_files(images: NamedFiles, labels: NamedFiles | None) -> Pairing:
    """Pair the files of `images`, in the order of their paths, with those of `labels`.

    Files of equal full names belong together whatever they end in; the others by the names that they share.

    Raises:
        QueryDiffError: if a folder is missing or holds no such file.
    """
    image_files = images.find()
    if labels is None:
        return Pairing([Pair(image, None) for image in image_files])
    label_files = labels.find()
    full = [
        [named.full_name(file) for file in files] for named, files in ((images, image_files), (labels, label_files))
    ]
    equal = {*full[0]} & {*full[1]}
    groups: dict[tuple[str, bool], Ambiguous] = {}
    for kind, (named, files) in enumerate(((images, image_files), (labels, label_files))):
        for file, name in zip(files, full[kind], strict=True):
            key = (name, True) if name in equal else (named.shared_name(file), False)
            groups.setdefault(key, Ambiguous([], []))[kind].append(file)
    found = Pairing()
    for (name, _), group in groups.items():
        _add(found, name, group)
    return found


def files_below(folder: Path, suffixes: Collection[str]) -> list[Path]:
    """Return the files below `folder` of these suffixes, in the order of their paths.

    Links to folders are followed, save those that lead back to where they came from. Names with a dot first are left
    out: macOS leaves such files beside those that it unpacks, and tools keep copies in such folders.

    Raises:
        QueryDiffError: if a folder cannot be read.
    """
    return sorted(file for file in _walk(folder, frozenset()) if file.suffix.lower() in suffixes)


def holds_ending(folder: Path, ending: str) -> bool:
    """Return whether a PNG below `folder` has a name that ends in `ending`."""
    return folder.is_dir() and any(file.name.endswith(f"{ending}.png") for file in _walk(folder, frozenset()))


def _walk(folder: Path, above: frozenset[tuple[int, int]]) -> Iterator[Path]:
    try:
        status, entries = folder.stat(), list(folder.iterdir())
    except OSError as error:
        raise QueryDiffError(f"{folder} cannot be read: {error.strerror}.") from error
    here = (status.st_dev, status.st_ino)
    for entry in entries if here not in above else ():
        if entry.name.startswith("."):
            continue
        if entry.is_dir():
            yield from _walk(entry, above | {here})
        else:
            yield entry


def _add(found: Pairing, name: str, group: Ambiguous) -> None:
    if not group.images:
        found.unused += group.labels
    elif not group.labels:
        found.unlabelled += [(image, name) for image in group.images]
    elif len(group.images) == len(group.labels) == 1:
        found.pairs.append(Pair(group.images[0], group.labels[0]))
    else:
        found.ambiguous.append(group)
