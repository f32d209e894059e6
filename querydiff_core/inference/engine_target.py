"""Whether a compiled engine fits this machine, and which checkpoint stands in where it does not."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.build_target import EngineBuild, target_here
from querydiff_core.inference.device_runner import torch_device
from querydiff_core.inference.engine import EngineMismatchError
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.utils.file_hash import file_hash


def check_target(path: Path, metadata: ModelMetadata, device: str) -> str:
    """Return where the engine runs, "cpu" or "cuda:N", for the user's choice "auto", "cpu" or "cuda[:N]".

    Raises:
        EngineMismatchError: if it was built for something else; it names the command that builds it here.
    """
    build = metadata.build
    assert build is not None  # `read_archive_metadata` has seen to it
    wanted = build.device if device == "auto" else device
    differences = _differences(build, wanted)
    if differences:
        command = build.command(metadata.input_size, path, _checkpoint_path(path, build))
        raise EngineMismatchError(
            f"{path} was built for {', '.join(differences)}: build it here with `{command}`, or set fallback to run "
            "its checkpoint."
        )
    return torch_device(wanted)


def named_checkpoint(path: Path, metadata: ModelMetadata) -> Path:
    """Return the checkpoint that the engine `path` was made from.

    Raises:
        QueryDiffError: if it is not there, or is another than the engine was made from.
    """
    build = metadata.build
    assert build is not None
    checkpoint = _checkpoint_path(path, build)
    if not checkpoint.is_file():
        raise QueryDiffError(
            f"{path} does not fit this machine and its checkpoint {checkpoint} is not there: put it there, or build "
            "the engine again."
        )
    if file_hash(checkpoint) != build.checkpoint_sha256:
        raise QueryDiffError(
            f"{path} does not fit this machine and {checkpoint} is not the checkpoint that it was made from (its "
            "SHA-256 differs): build the engine again, or give the checkpoint itself."
        )
    return checkpoint


def _checkpoint_path(engine: Path, build: EngineBuild) -> Path:
    return Path(os.path.normpath(engine.parent / build.checkpoint))


def _differences(build: EngineBuild, wanted: str) -> list[str]:
    kind = wanted.partition(":")[0]
    if kind != build.device:
        return [f"device {build.device} (here {wanted})"]
    if kind == "cuda" and not torch.cuda.is_available():
        return [f"the GPU {build.target.hardware} (here none)"]
    return build.target.differences(target_here(build.format, torch_device(wanted)), any_gpu=build.any_gpu)
