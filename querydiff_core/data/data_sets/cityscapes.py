"""The reader of Cityscapes."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles


class Cityscapes(DataSet):
    """Finely labelled images; those of `test` come without labels (the published files hold none)."""

    name = "cityscapes"
    title = "Cityscapes, fine labels (Cordts et al., CVPR 2016)"
    layout = """\
leftImg8bit/<split>/<city>/*_leftImg8bit.png
gtFine/<split>/<city>/*_gtFine_labelIds.png"""
    source = "https://www.cityscapes-dataset.com (leftImg8bit_trainvaltest.zip, gtFine_trainvaltest.zip)"
    terms = "registration; not commercial; no redistribution"
    splits = ("train", "val", "test")
    mapping_name = "cityscapes_label_ids"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        images = NamedFiles(root / "leftImg8bit" / split, ("_leftImg8bit",), (".png",))
        labels = NamedFiles(root / "gtFine" / split, ("_gtFine_labelIds",), (".png",))
        return [Part(images, None if split == "test" else labels)]
