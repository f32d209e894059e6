"""A data set as training and validation name it: in YAML, by the names of the fields."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from querydiff_core.data.data_sets.acdc import Acdc
from querydiff_core.data.data_sets.bdd100k import Bdd100k
from querydiff_core.data.data_sets.camvid import CamVid
from querydiff_core.data.data_sets.carla import Carla, Carla0913
from querydiff_core.data.data_sets.cityscapes import Cityscapes
from querydiff_core.data.data_sets.data_set import DataSet
from querydiff_core.data.data_sets.folder import Folder
from querydiff_core.data.data_sets.gta5 import Gta5
from querydiff_core.data.data_sets.idd import Idd, IddLite
from querydiff_core.data.data_sets.mapillary import MapillaryV12, MapillaryV20
from querydiff_core.data.data_sets.street_scenes import StreetScenes
from querydiff_core.data.data_sets.synthia import Synthia
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.errors import QueryDiffError

DataSetName = Literal[
    "gta5",
    "synthia",
    "cityscapes",
    "bdd100k",
    "mapillary_v1_2",
    "mapillary_v2_0",
    "acdc",
    "camvid",
    "idd",
    "idd_lite",
    "carla",
    "carla_0_9_13",
    "street_scenes",
    "folder",
]
DATA_SETS: tuple[type[DataSet], ...] = (
    Gta5,
    Synthia,
    Cityscapes,
    Bdd100k,
    MapillaryV12,
    MapillaryV20,
    Acdc,
    CamVid,
    Idd,
    IddLite,
    Carla,
    Carla0913,
    StreetScenes,
    Folder,
)


@dataclass
class DataSource:
    """Images and labels to train or to validate on.

    Attributes:
        root: folder that the data set was unpacked into.
        data_set: which one it is; `folder` is any folder of images and folder of labels.
        split: part of it, such as train or val; None is the first.
        condition: of sets that tell the weather, such as night; None is all.
        mapping: what the label values mean, `folder` alone: a bundled name or a YAML file; None is trainIds.
        size: (height, width) that validation images are resized to, or a factor: 0.5 halves each image's sides.
        fitted: whether `size` is a box that images are fitted into, keeping their ratio, either way up.
        weight: share among the training sources; None is by number of images.
    """

    root: str
    data_set: DataSetName = "folder"
    split: str | None = None
    condition: str | None = None
    mapping: str | None = None
    size: tuple[int, int] | float | None = None
    fitted: bool = False
    weight: float | None = None

    def __post_init__(self) -> None:
        """Refuse a size that no image can have."""
        sides = (self.size,) if isinstance(self.size, (int, float)) else self.size or (1,)
        if isinstance(self.size, (int, float)) and not 0 < self.size <= 4:
            raise QueryDiffError(f"{self.root}: a size is (height, width), or a factor up to 4, found {self.size}.")
        if self.fitted and len(sides) != 2:
            raise QueryDiffError(f"{self.root}: fitted needs a size (height, width) to fit into, found {self.size}.")
        if min(sides) <= 0:
            raise QueryDiffError(f"{self.root}: sides must be 1 pixel or more, found {self.size}.")

    def open(self) -> LabelledPairs:
        """Pair the files; nothing is decoded.

        Raises:
            QueryDiffError: if the folder is no such data set, or images have no labels or several.
        """
        return data_set(self.data_set, self.mapping).open(Path(self.root), self.split, self.condition)


def data_set(name: str, mapping: str | None = None) -> DataSet:
    """Return the reader of a data set by name.

    Raises:
        QueryDiffError: for an unknown name, or a mapping for a set that has its own.
    """
    by_name = {kind.name: kind for kind in DATA_SETS}
    if name not in by_name:
        raise QueryDiffError(f"No data set {name}: expected one of {', '.join(by_name)}.")
    if name == Folder.name:
        return Folder(mapping)
    if mapping is not None:
        raise QueryDiffError(f"{name} has its own label mapping: leave {mapping} out, or name the data set folder.")
    return by_name[name]()
