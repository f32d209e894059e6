"""The reader of Cityscapes."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles, holds_ending
from querydiff_core.label_space import LabelMapping, label_mapping

LABEL_IDS, TRAIN_IDS = "_gtFine_labelIds", "_gtFine_labelTrainIds"


class Cityscapes(DataSet):
    """Finely labelled images; those of `test` come without labels (the published files hold none).

    Where there are trainIds alone, as tools make them of the published ids, they are read.
    """

    name = "cityscapes"
    title = "Cityscapes, fine labels (Cordts et al., CVPR 2016)"
    layout = """\
leftImg8bit/<split>/<city>/*_leftImg8bit.png
gtFine/<split>/<city>/*_gtFine_labelIds.png, or *_gtFine_labelTrainIds.png alone"""
    source = "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
    terms = "registration; not commercial; no redistribution"
    splits = ("train", "val", "test")
    mapping_name = "cityscapes_label_ids"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        images = NamedFiles(root / "leftImg8bit" / split, ("_leftImg8bit",), (".png",))
        labels = NamedFiles(root / "gtFine" / split, (self._ending(root),), (".png",))
        return [Part(images, None if split == "test" else labels)]

    def mapping(self, root: Path) -> LabelMapping:
        """Return the map of the label files that are there."""
        return label_mapping(self.mapping_name if self._ending(root) == LABEL_IDS else "train_ids")

    def _ending(self, root: Path) -> str:
        labels = root / "gtFine"
        return TRAIN_IDS if not holds_ending(labels, LABEL_IDS) and holds_ending(labels, TRAIN_IDS) else LABEL_IDS
