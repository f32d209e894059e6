"""A folder of images and a folder of label images, paired by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.image_files import read_image
from querydiff_core.label_space import LabelMapping, label_mapping

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".webp", ".tif", ".tiff")
# What data sets append to the name that an image and its labels share; the empty ending comes last.
IMAGE_ENDINGS = ("_leftImg8bit", "_rgb_anon", "_rgb", "_image", "")
LABEL_ENDINGS = (
    "_gtFine_labelTrainIds",
    "_gtFine_labelIds",
    "_gt_labelTrainIds",
    "_gt_labelIds",
    "_labelTrainIds",
    "_labelIds",
    "_train_id",
    "_labels",
    "_label",
    "_mask",
    "_L",
    "",
)


class LabelledImage(NamedTuple):
    """`image` uint8 RGB `(H, W, 3)`, `labels` uint8 trainIds `(H, W)` or None, `stem` the image's path without suffix.

    `stem` is relative to the folder of images.
    """

    image: np.ndarray
    labels: np.ndarray | None
    stem: str


class LabelledFolder:
    """Images and their labels, sorted by path; a sequence of `LabelledImage`.

    An image and its labels share their relative path up to the suffix and the endings that data sets use
    (`x_leftImg8bit.png` and `x_gtFine_labelIds.png`, `x.jpg` and `x.png`, `x.png` and `x_L.png`).
    """

    def __init__(
        self, images: str | Path, labels: str | Path | None = None, mapping: LabelMapping | None = None
    ) -> None:
        """Pair the files; nothing is decoded yet.

        Args:
            images: folder of images, or a root with the folders `images` and (optionally) `labels` in it.
            labels: folder of one-channel 8-bit label images.
            mapping: what the label values mean; by default they are trainIds.

        Raises:
            QueryDiffError: if a folder is missing or empty, or an image has no labels or several.
        """
        images, labels = Path(images), None if labels is None else Path(labels)
        if labels is None and (images / "images").is_dir():
            root = images
            images, labels = root / "images", root / "labels" if (root / "labels").is_dir() else None
        self.images, self.labels = images, labels
        self.mapping = mapping or label_mapping("train_ids")
        self._image_files = _image_files(images)
        self._label_files = None if labels is None else self._pair(labels)

    def __len__(self) -> int:
        return len(self._image_files)

    def __iter__(self) -> Iterator[LabelledImage]:
        """Decode one pair after the other."""
        return (self[index] for index in range(len(self)))

    def __getitem__(self, index: int) -> LabelledImage:
        """Decode pair `index`.

        Raises:
            QueryDiffError: if a file cannot be decoded, the labels are no 8-bit ids, or the sizes differ.
        """
        file = self._image_files[index]
        image = read_image(file)
        stem = file.relative_to(self.images).with_suffix("").as_posix()
        return LabelledImage(image, self._read_labels(index, image.shape[:2]), stem)

    def _read_labels(self, index: int, size: tuple[int, ...]) -> np.ndarray | None:
        if self._label_files is None:
            return None
        file = self._label_files[index]
        values = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
        if values is None:
            raise QueryDiffError(f"{file} cannot be decoded as an image: it is damaged or of an unknown format.")
        if values.dtype != np.uint8 or values.ndim != 2:
            raise QueryDiffError(
                f"{file}: expected one channel of 8-bit class ids, found {values.dtype} of shape {values.shape}."
            )
        if values.shape != size:
            raise QueryDiffError(f"{file}: labels are {values.shape} and their image is {size}; they must be equal.")
        return self.mapping(values)

    def _pair(self, labels: Path) -> list[Path]:
        by_key: dict[str, list[Path]] = {}
        for file in _image_files(labels):
            by_key.setdefault(_key(file.relative_to(labels), LABEL_ENDINGS), []).append(file)
        return [self._only_one(file, labels, by_key) for file in self._image_files]

    def _only_one(self, image: Path, labels: Path, by_key: dict[str, list[Path]]) -> Path:
        key = _key(image.relative_to(self.images), IMAGE_ENDINGS)
        found = by_key.get(key, [])
        if len(found) != 1:
            names = " and ".join(file.name for file in found) or f"none among {sum(map(len, by_key.values()))} files"
            raise QueryDiffError(f"{image}: expected one label image named {key} in {labels}, found {names}.")
        return found[0]


def _image_files(folder: Path) -> list[Path]:
    if not folder.is_dir():
        raise QueryDiffError(f"No folder {folder}: expected a folder of images.")
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGE_SUFFIXES and f.is_file())
    if not files:
        raise QueryDiffError(f"{folder} holds no image: expected files ending in {' '.join(IMAGE_SUFFIXES)}.")
    return files


def _key(file: Path, endings: tuple[str, ...]) -> str:
    ending = next(e for e in endings if file.stem.endswith(e))
    return file.with_name(file.stem.removesuffix(ending) or file.stem).as_posix()
