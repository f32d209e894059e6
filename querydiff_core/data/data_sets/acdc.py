"""The reader of ACDC."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles


class Acdc(DataSet):
    """Images in fog, night, rain and snow; `test` comes without labels, reference images (`*_ref`) are left out."""

    name = "acdc"
    title = "ACDC, adverse conditions (Sakaridis et al., ICCV 2021)"
    layout = """\
rgb_anon/<condition>/<split>/<sequence>/*_rgb_anon.png
gt/<condition>/<split>/<sequence>/*_gt_labelTrainIds.png"""
    source = "https://acdc.vision.ee.ethz.ch (rgb_anon_trainvaltest.zip, gt_trainval.zip)"
    terms = "registration; not commercial; no redistribution"
    splits = ("train", "val", "test")
    conditions = ("fog", "night", "rain", "snow")
    mapping_name = "train_ids"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folders of the split, one for each condition."""
        return [self._part(root, split, name) for name in ([condition] if condition else self.conditions)]

    def _part(self, root: Path, split: str, condition: str) -> Part:
        images = NamedFiles(root / "rgb_anon" / condition / split, ("_rgb_anon",), (".png",))
        labels = NamedFiles(root / "gt" / condition / split, ("_gt_labelTrainIds",), (".png",))
        return Part(images, None if split == "test" else labels)
