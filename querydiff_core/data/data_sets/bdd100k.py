"""The reader of BDD100K."""

from __future__ import annotations

from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles


class Bdd100k(DataSet):
    """The 10,000 images with labels for segmentation; those of `test` come without labels."""

    name = "bdd100k"
    title = "BDD100K, semantic segmentation (Yu et al., CVPR 2020)"
    layout = """\
images/10k/<split>/*.jpg
labels/sem_seg/masks/<split>/*.png"""
    source = "https://bdd-data.berkeley.edu (10K Images, Segmentation)"
    terms = "registration; research and education; no redistribution"
    splits = ("train", "val", "test")
    mapping_name = "train_ids"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        images = NamedFiles(root / "images" / "10k" / split, suffixes=(".jpg",))
        # The first archive of the labels calls its files <name>_train_id.png.
        labels = NamedFiles(root / "labels" / "sem_seg" / "masks" / split, ("_train_id", ""), (".png",))
        return [Part(images, None if split == "test" else labels)]
