"""The reader of GTA5."""

from __future__ import annotations

import logging
from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.data.pairing import NamedFiles
from querydiff_core.errors import QueryDiffError, listed
from querydiff_core.utils.image_files import image_head


class Gta5(DataSet):
    """Rendered by a game; the files are one set without splits.

    A few images and their labels have different sizes: they are left out with one warning.
    """

    name = "gta5"
    title = "GTA5, Playing for Data (Richter et al., ECCV 2016)"
    layout = """\
images/*.png
labels/*.png"""
    source = "https://download.visinf.tu-darmstadt.de/data/from_games (ten archives of images, ten of labels)"
    terms = "research and education; no redistribution"
    mapping_name = "cityscapes_label_ids"
    leaves_out_other_sizes = True

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the two folders."""
        return [Part(NamedFiles(root / "images", suffixes=(".png",)), NamedFiles(root / "labels", suffixes=(".png",)))]

    def open(self, root: Path, split: str | None = None, condition: str | None = None) -> LabelledPairs:
        """Open all pairs whose sizes agree; only the head of each file is read."""
        pairs = super().open(root, split, condition)
        fitting = [
            pair for pair in pairs.pairs if pair.labels and image_head(pair.image).size == image_head(pair.labels).size
        ]
        if not fitting:
            raise QueryDiffError(f"{root}: none of {len(pairs)} images has labels of its own size.")
        if left_out := sorted(pair.image.name for pair in set(pairs.pairs) - set(fitting)):
            logging.getLogger(__name__).warning(
                "%s: left out %d of %d images because their labels have another size: %s.",
                root,
                len(left_out),
                len(pairs),
                listed(left_out),
            )
        return LabelledPairs(root, fitting, pairs.decoder)
