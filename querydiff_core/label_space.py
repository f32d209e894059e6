"""The classes that models predict, and the mappings of other label sets onto them: data in `label_spaces/*.yaml`."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from querydiff_core.errors import QueryDiffError, explained

UNLABELLED = 255
"""The trainId of a pixel that is not labelled, as in Cityscapes."""

KEYS = {"to_train_id", "score_classes", "unlabelled", "colors", "first_channel", "images", "labels"}
NO_MAPPINGS = ("cityscapes.yaml", "mapillary.yaml")  # the classes themselves, and a map by name instead of value


@dataclass(frozen=True)
class LabelSpace:
    """Names and colours of the classes; a class's id (trainId) is its position.

    `names`: N class names. `palette`: N RGB colours, each channel 0 to 255.
    """

    names: tuple[str, ...]
    palette: tuple[tuple[int, int, int], ...]

    def __len__(self) -> int:
        return len(self.names)

    @functools.cached_property
    def colors(self) -> np.ndarray:
        """Return the palette as a uint8 look-up table `(256, 3)`, RGB; ids past the last class are black."""
        table = np.zeros((256, 3), np.uint8)
        table[: len(self.palette)] = self.palette
        return table

    def paint(self, labels: np.ndarray) -> np.ndarray:
        """Colour `labels` uint8 `(..., H, W)` as uint8 RGB `(..., H, W, 3)`."""
        return self.colors[labels]


@dataclass(frozen=True)
class LabelMapping:
    """How the values of another label set map onto trainIds.

    `to_train_id`: value (0 to 255) to trainId; what is missing is unlabelled. `score_classes`: names and groups of
    trainIds that this label set can tell apart; predictions and ground truth are merged by group before scoring.
    `unlabelled`: values that this label set has and Cityscapes has not. All other values but 255 are unknown label ids.
    `colors`: (RGB, value) of label sets whose files are painted. `first_channel`: label files have several channels
    and the first is the value. `images`, `labels`: where a data set folder holds its files.
    """

    name: str
    to_train_id: Mapping[int, int]
    score_classes: tuple[tuple[str, tuple[int, ...]], ...]
    unlabelled: frozenset[int] = frozenset()
    colors: tuple[tuple[tuple[int, int, int], int], ...] = ()
    first_channel: bool = False
    images: str = "images"
    labels: str = "labels"

    @functools.cached_property
    def table(self) -> np.ndarray:
        """Return the mapping as a uint8 look-up table `(256,)`: value to trainId or 255."""
        table = np.full(256, UNLABELLED, np.uint8)
        table[list(self.to_train_id)] = list(self.to_train_id.values())
        return table

    @functools.cached_property
    def known(self) -> np.ndarray:
        """Return which values this label set has as a uint8 look-up table `(256,)`: 1 or 0."""
        table = np.zeros(256, np.uint8)
        table[[*self.to_train_id, *self.unlabelled, UNLABELLED]] = 1
        return table

    @functools.cached_property
    def score_table(self) -> np.ndarray:
        """Return a uint8 look-up table `(256,)`: trainId to index into `score_classes`, or 255."""
        table = np.full(256, UNLABELLED, np.uint8)
        for index, (_, train_ids) in enumerate(self.score_classes):
            table[list(train_ids)] = index
        return table

    def __call__(self, labels: np.ndarray) -> np.ndarray:
        """Map uint8 `labels` of any shape to trainIds (255 where this label set has no counterpart)."""
        return self.table[labels]


@functools.cache
def cityscapes() -> LabelSpace:
    """Return the 19 evaluation classes of Cityscapes, in trainId order."""
    classes = _read("cityscapes")["classes"]
    return LabelSpace(tuple(c["name"] for c in classes), tuple(_color(c["color"]) for c in classes))


def label_mapping(name_or_file: str | Path) -> LabelMapping:
    """Return the bundled mapping of that name (`carla`, `camvid`, ...) or the one in a YAML file.

    Raises:
        QueryDiffError: if neither exists, or the file is not a mapping.
    """
    path, file = Path(name_or_file), mapping_file(name_or_file)
    raw = _parse(_text(file), file) if file else _read(str(path))
    if unknown := sorted(map(str, set(raw) - KEYS)):
        raise QueryDiffError(f"{path}: unknown key {unknown[0]}, expected some of {', '.join(sorted(KEYS))}.")
    wrong = f"{path}: expected `to_train_id: {{value: trainId, ...}}`, found {raw!r:.80}."
    with explained(wrong, KeyError, TypeError, ValueError, AttributeError):
        mapping = _mapping(path.stem, raw)
    _check_ids(path, mapping)
    return mapping


def mapping_file(name_or_file: str | Path) -> Path | None:
    """Return the YAML file that `label_mapping` reads, None for the name of a bundled mapping."""
    path = Path(name_or_file)
    return path if path.suffix in (".yaml", ".yml") and path.is_file() else None


def _mapping(name: str, raw: dict[str, Any]) -> LabelMapping:
    groups = tuple((str(c["name"]), tuple(map(int, c["train_ids"]))) for c in raw.get("score_classes", ()))
    return LabelMapping(
        name,
        {int(value): int(train_id) for value, train_id in raw["to_train_id"].items()},
        groups or tuple((n, (i,)) for i, n in enumerate(cityscapes().names)),
        frozenset(map(int, raw.get("unlabelled", ()))),
        tuple((_color(color), int(value)) for value, color in raw.get("colors", {}).items()),
        bool(raw.get("first_channel", False)),
        str(raw.get("images", "images")),
        str(raw.get("labels", "labels")),
    )


def bundled_mappings() -> Sequence[str]:
    """Return the names of the mappings that come with the package."""
    files = resources.files("querydiff_core").joinpath("label_spaces").iterdir()
    return sorted(f.name.removesuffix(".yaml") for f in files if f.name.endswith(".yaml") and f.name not in NO_MAPPINGS)


def _check_ids(path: Path, mapping: LabelMapping) -> None:
    train_ids = [t for t in mapping.to_train_id.values() if not (0 <= t < 19 or t == UNLABELLED)]
    values = [*mapping.to_train_id, *mapping.unlabelled, *(value for _, value in mapping.colors)]
    train_ids += [t for _, group in mapping.score_classes for t in group if not 0 <= t < 19]
    wrong = train_ids or [value for value in values if not 0 <= value <= 255]
    if wrong:
        raise QueryDiffError(f"{path}: values must be 0 to 255 and trainIds 0 to 18 or 255, found {wrong[0]}.")
    unknown = [value for _, value in mapping.colors if not mapping.known[value]]
    if unknown:
        raise QueryDiffError(
            f"{path}: `colors` paints value {unknown[0]}, which is neither under `to_train_id` nor `unlabelled`: list "
            "it under one of them."
        )


@functools.cache
def mapillary_names() -> Mapping[str, int]:
    """Return the trainIds of the classes of Mapillary Vistas by the beginnings of their names."""
    return {str(name): int(train_id) for name, train_id in _read("mapillary")["names"].items()}


def _read(name: str) -> dict[str, Any]:
    file = resources.files("querydiff_core").joinpath("label_spaces") / f"{name}.yaml"
    if "/" in name or not file.is_file():
        raise QueryDiffError(
            f"No label mapping {name}: give a YAML file that exists, or one of {', '.join(bundled_mappings())}."
        )
    return _parse(file.read_text(), Path(name))


def _text(path: Path) -> str:
    with explained(f"{path} cannot be read as text: {{reason}}.", OSError, UnicodeDecodeError):
        return path.read_text("utf-8")


def _parse(text: str, path: Path) -> dict[str, Any]:
    with explained(f"{path} is not valid YAML: {{reason}}.", yaml.YAMLError):
        raw = yaml.safe_load(text)
    if not isinstance(raw, dict):
        raise QueryDiffError(f"{path}: expected a YAML mapping, found {type(raw).__name__}.")
    return raw


def _color(rgb: Sequence[int]) -> tuple[int, int, int]:
    red, green, blue = (int(c) for c in rgb)
    return red, green, blue
