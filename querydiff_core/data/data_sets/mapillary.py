"""The readers of Mapillary Vistas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

from querydiff_core.data.data_sets.data_set import DataSet, Part
from querydiff_core.data.pairing import NamedFiles
from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.label_space import LabelMapping, cityscapes, mapillary_names

FOLDERS = {"train": "training", "val": "validation", "test": "testing"}


class MapillaryV12(DataSet):
    """Version 1.2, 66 classes; `test` comes without labels."""

    name = "mapillary_v1_2"
    title = "Mapillary Vistas v1.2 (Neuhold et al., ICCV 2017)"
    layout = """\
{training,validation,testing}/images/*.jpg
{training,validation}/v1.2/labels/*.png, or {training,validation}/labels/*.png
config_v1.2.json, or config.json"""
    source = "https://www.mapillary.com/dataset/vistas"
    terms = "registration; CC BY-NC-SA 4.0"
    splits = ("train", "val", "test")
    version: ClassVar[str] = "v1.2"

    def parts(self, root: Path, split: str, condition: str | None) -> list[Part]:
        """Return the folder of the split."""
        folder = root / FOLDERS[split]
        versioned = folder / self.version / "labels"
        labels = versioned if versioned.is_dir() else folder / "labels"
        return [
            Part(
                NamedFiles(folder / "images", suffixes=(".jpg",)),
                None if split == "test" else NamedFiles(labels, suffixes=(".png",)),
            )
        ]

    def mapping(self, root: Path) -> LabelMapping:
        """Return the map of the values to trainIds by the names that the set's own configuration gives them.

        Raises:
            QueryDiffError: if the configuration is missing or has no names.
        """
        names = self._class_names(root)
        train_ids = {value: train_id_of(name) for value, name in enumerate(names)}
        mapped = {value: train_id for value, train_id in train_ids.items() if train_id is not None}
        if not mapped:
            raise QueryDiffError(f"{self._configuration(root)}: none of its {len(names)} labels has a known name.")
        classes = tuple((name, (i,)) for i, name in enumerate(cityscapes().names))
        return LabelMapping(self.name, mapped, classes, frozenset(train_ids) - frozenset(mapped))

    def _class_names(self, root: Path) -> list[str]:
        file = self._configuration(root)
        wrong = (
            f"{file}: expected the configuration of Mapillary Vistas {self.version} with `labels`, each with a `name`; "
            "unpack it beside the folder training."
        )
        with explained(wrong, OSError, ValueError, KeyError, TypeError):
            return [str(label["name"]) for label in json.loads(file.read_text(encoding="utf-8"))["labels"]]

    def _configuration(self, root: Path) -> Path:
        file, old = root / f"config_{self.version}.json", root / "config.json"
        return old if old.is_file() and not file.is_file() else file


class MapillaryV20(MapillaryV12):
    """Version 2.0, 124 classes."""

    name = "mapillary_v2_0"
    title = "Mapillary Vistas v2.0"
    layout = """\
{training,validation,testing}/images/*.jpg
{training,validation}/v2.0/labels/*.png, or {training,validation}/labels/*.png
config_v2.0.json"""
    version = "v2.0"


def train_id_of(name: str) -> int | None:
    """Return the trainId of a class of Mapillary Vistas by the longest beginning of its name in the table, or None."""
    parts = name.split("--")
    beginnings = ("--".join(parts[:length]) for length in range(len(parts), 0, -1))
    table = mapillary_names()
    return next((table[beginning] for beginning in beginnings if beginning in table), None)
