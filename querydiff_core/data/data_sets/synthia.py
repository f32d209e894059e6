"""The reader of SYNTHIA-RAND-CITYSCAPES."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles


class Synthia(DataSet):
    """Rendered images in random order, one set without splits; labels are 16-bit PNGs of three channels."""

    name = "synthia"
    title = "SYNTHIA-RAND-CITYSCAPES (Ros et al., CVPR 2016)"
    layout = """\
RGB/*.png
GT/LABELS/*.png"""
    source = "https://synthia-dataset.net (SYNTHIA_RAND_CITYSCAPES.rar)"
    terms = "registration; CC BY-NC-SA 3.0"
    mapping_name = "synthia"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the two folders."""
        labels = NamedFiles(root / "GT" / "LABELS", suffixes=(".png",))
        return [Part(NamedFiles(root / "RGB", suffixes=(".png",)), labels)]
