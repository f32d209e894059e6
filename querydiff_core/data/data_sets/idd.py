"""The readers of the India Driving Dataset."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles, holds_ending
from querydiff_core.label_space import LabelMapping, label_mapping

LEVEL_3 = "_gtFine_labellevel3Ids"
TRAIN_IDS = "_gtFine_labelcsTrainIds"


class Idd(DataSet):
    """Part I and II; the label images are made from the published polygons by the set's own tool."""

    name = "idd"
    title = "India Driving Dataset (Varma et al., WACV 2019)"
    layout = """\
leftImg8bit/<split>/<sequence>/*_leftImg8bit.{png,jpg}
gtFine/<split>/<sequence>/*_gtFine_labellevel3Ids.png or *_gtFine_labelcsTrainIds.png"""
    source = "https://idd.insaan.iiit.ac.in (label images: createLabels.py of github.com/AutoNUE/public-code)"
    terms = "registration; not commercial; no redistribution"
    splits = ("train", "val", "test")
    mapping_name = "idd"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        images = NamedFiles(root / "leftImg8bit" / split, ("_leftImg8bit",), (".png", ".jpg"))
        labels = NamedFiles(root / "gtFine" / split, (self._ending(root),), (".png",))
        return [Part(images, None if split == "test" else labels)]

    def mapping(self, root: Path) -> LabelMapping:
        """Return the map of the label images that are there: level-3 ids, or Cityscapes trainIds."""
        return label_mapping(self.mapping_name if self._ending(root) == LEVEL_3 else "train_ids")

    def _ending(self, root: Path) -> str:
        """Where all splits have trainIds they are preferred: they keep terrain and trains, which level-3 ids join."""
        folders = [folder for split in ("train", "val") if (folder := root / "gtFine" / split).is_dir()]
        return TRAIN_IDS if folders and all(holds_ending(folder, TRAIN_IDS) for folder in folders) else LEVEL_3


class IddLite(DataSet):
    """The small edition with seven classes."""

    name = "idd_lite"
    title = "IDD Lite, seven classes (Mishra et al., NCVPRIPG 2019)"
    layout = """\
leftImg8bit/<split>/<sequence>/*_image.jpg
gtFine/<split>/<sequence>/*_label.png"""
    source = "https://idd.insaan.iiit.ac.in (idd-lite.tar.gz)"
    terms = "registration; not commercial; no redistribution"
    splits = ("train", "val", "test")
    mapping_name = "idd_lite"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        images = NamedFiles(root / "leftImg8bit" / split, ("_image",), (".png", ".jpg"))
        labels = NamedFiles(root / "gtFine" / split, ("_label",), (".png",))
        return [Part(images, None if split == "test" else labels)]
