"""A small student whose labels differ from place to place, for tests that compare engines."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

from paths import REPOSITORY

from querydiff_core.inference.archive import write_plan
from querydiff_core.inference.build_target import BuildTarget, EngineBuild
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.utils.file_hash import file_hash

SIZE = (64, 128)
"""Height and width that the student was trained at and that its engines see."""

# `tiny` with one decoder layer, so that it is exported sooner, after 150 steps on eight street scenes of this size,
# with test_overfit's settings but without a teacher. With random weights it would know one class, and all engines
# would agree.
TRAINED = REPOSITORY / "test" / "data" / "tiny.safetensors"


FAR_AWAY = BuildTarget("Imaginary GPU", "99.9", tensorrt="99.9.9")


def write_student(path: Path) -> Path:
    """Copy the trained student to `path`."""
    return Path(shutil.copyfile(TRAINED, path))


def write_foreign_engine(path: Path, made_from: Path, **changes: object) -> Path:
    """Write an `.engine` file whose plan no GPU takes, built for a GPU that is nowhere."""
    origin = {"checkpoint": made_from.name, "checkpoint_sha256": file_hash(made_from)}
    build = EngineBuild("tensorrt", "fp16", (1, 4), device="cuda", target=FAR_AWAY, **origin)
    metadata = ModelMetadata("tiny", SIZE, (0.5,) * 3, (0.2,) * 3, build=dataclasses.replace(build, **changes))
    write_plan(path, b"no plan" * 500, metadata)
    return path
