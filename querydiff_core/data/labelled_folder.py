"""A folder of images and a folder of label images, paired by name."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.label_decoder import LabelDecoder
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.data.pairing import NamedFiles, Pairing, pair_files
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import LabelMapping, label_mapping

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


class LabelledFolder(LabelledPairs):
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
            labels: folder of label images.
            mapping: what the label values mean; by default they are trainIds.

        Raises:
            QueryDiffError: if a folder is missing or empty, or an image has no labels or several.
        """
        images, labels = Path(images), None if labels is None else Path(labels)
        if labels is None and (images / "images").is_dir():
            root = images
            images, labels = root / "images", root / "labels" if (root / "labels").is_dir() else None
        pairing = pair_folders(images, labels)
        _refuse_what_does_not_pair(pairing, labels)
        super().__init__(images, pairing.pairs, LabelDecoder(mapping or label_mapping("train_ids")))


def pair_folders(images: Path, labels: Path | None) -> Pairing:
    """Pair two folders by the names that data sets use.

    Raises:
        QueryDiffError: if a folder is missing or holds no image.
    """
    return pair_files(NamedFiles(images, IMAGE_ENDINGS), None if labels is None else NamedFiles(labels, LABEL_ENDINGS))


def _refuse_what_does_not_pair(pairing: Pairing, labels: Path | None) -> None:
    for image, name in pairing.unlabelled:
        files = len(pairing.pairs) + len(pairing.unused) + sum(len(group.labels) for group in pairing.ambiguous)
        raise QueryDiffError(
            f"{image}: expected one label image named {name} in {labels}, found none among {files} files."
        )
    for group in pairing.ambiguous:
        raise QueryDiffError(str(group))
