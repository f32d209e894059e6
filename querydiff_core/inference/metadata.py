"""What every model file says about itself: checkpoints and exported engines carry the same JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.build_target import EngineBuild, Precision
from querydiff_core.label_space import LabelSpace, cityscapes

FORMAT_VERSION = 2
"""Raised when a file of this version could not be read, or would be read as something else, by older code."""

RENAMED_VARIANTS = {"small": "small-resnet18d"}
"""What variants of files of format version 1 are called today."""

METADATA_KEY = "querydiff"
"""The key under which a file's own metadata (safetensors, ONNX) holds the JSON."""


def refuse_training_state(path: Path) -> None:
    """Tell who gives a training state (`.ckpt`) where a model is asked for which file is meant.

    Raises:
        QueryDiffError: if `path` is one.
    """
    if path.suffix == ".ckpt":
        raise QueryDiffError(
            f"{path} is a training state, to resume or to start training from: the model is student.safetensors in the "
            f"run's folder ({path.parent.parent / 'student.safetensors'})."
        )


@dataclass(frozen=True)
class ModelMetadata:
    """How a model was made and what it expects.

    `variant`: the name in `models/variants.py`. `input_size`: (height, width) that the network sees; images of any
    other size are resized inside the graph. `mean`, `std`: normalisation of RGB in 0..1. `recipe`: how it was trained.
    `overrides`: arguments to `build_model` beside the variant. `commit`: of this repository, when it was made.
    `versions`: of the libraries that made it. `build`: what an exported engine was built for, None for a checkpoint.
    """

    variant: str
    input_size: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    class_names: tuple[str, ...] = field(default_factory=lambda: cityscapes().names)
    palette: tuple[tuple[int, int, int], ...] = field(default_factory=lambda: cityscapes().palette)
    overrides: Mapping[str, Any] = field(default_factory=dict)
    recipe: Mapping[str, Any] = field(default_factory=dict)
    commit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    build: EngineBuild | None = None
    format_version: int = FORMAT_VERSION

    @property
    def label_space(self) -> LabelSpace:
        """Return the classes that the model predicts."""
        return LabelSpace(self.class_names, self.palette)

    @property
    def image_size(self) -> tuple[int, int]:
        """Return (height, width) of the images that suit the model best: the camera's if built in, or its own."""
        return (self.build and self.build.camera) or self.input_size

    @property
    def precision(self) -> Precision:
        """Return what the network computes in."""
        return "fp32" if self.build is None else self.build.precision

    def to_json(self) -> str:
        """Return the JSON that `from_json` reads."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str | None, source: object) -> ModelMetadata:
        """Read the JSON found in the file `source`.

        Raises:
            QueryDiffError: if it is missing (another program's file), damaged, or of a newer format.
        """
        if text is None:
            raise QueryDiffError(
                f"{source} was not made by this project: it has no `{METADATA_KEY}` metadata; make an engine with "
                "`querydiff export` or a checkpoint with `querydiff fit`."
            )
        damaged = f"{source} has damaged `{METADATA_KEY}` metadata ({{reason}}); make it again."
        with explained(damaged, ValueError, KeyError, TypeError):
            raw = dict(json.loads(text))
            found = int(raw["format_version"])
        if found > FORMAT_VERSION:
            raise QueryDiffError(
                f"{source} has format version {found} and this installation reads up to {FORMAT_VERSION}: "
                "update querydiff_ros or export the file again."
            )
        if found == 1 and raw.get("variant") in RENAMED_VARIANTS:
            raw["variant"] = RENAMED_VARIANTS[raw["variant"]]
        return cls._from_fields(raw, source)

    @classmethod
    def _from_fields(cls, raw: dict[str, Any], source: object) -> ModelMetadata:
        known = {f.name for f in fields(cls)}
        incomplete = f"{source} has incomplete `{METADATA_KEY}` metadata ({{reason}}); make it again."
        with explained(incomplete, KeyError, TypeError, ValueError):
            raw |= {key: tuple(raw[key]) for key in ("input_size", "mean", "std", "class_names")}
            raw["palette"] = tuple((int(r), int(g), int(b)) for r, g, b in raw["palette"])
            raw["build"] = EngineBuild.from_fields(raw["build"]) if raw.get("build") else None
            return cls(**{key: value for key, value in raw.items() if key in known})
