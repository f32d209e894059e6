"""Checkpoints: safetensors with the model's metadata inside; nothing is ever unpickled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.build_target import SUFFIXES
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata, refuse_training_state
from querydiff_core.models.build import build_model
from querydiff_core.models.querydiff import QueryDiff
from querydiff_core.utils.atomic_file import atomic_file

TRAINING_ONLY = "pixel_head."
"""Prefix of the parameters that exist in training only and are left out of checkpoints for driving."""


def save_checkpoint(model: QueryDiff, metadata: ModelMetadata, path: Path) -> None:
    """Write the student's weights as fp16 with `metadata`, whole or not at all."""
    save_weights(model.state_dict(), metadata, path)


def save_weights(state: Mapping[str, torch.Tensor], metadata: ModelMetadata, path: Path) -> None:
    """Write a student's state, gathered from wherever it was trained, as fp16 with `metadata`, whole or not at all.

    A tensor with values that fp16 does not reach stays in fp32.

    Raises:
        QueryDiffError: if a value is not finite, or the file cannot be written.
    """
    weights = {name: _stored(name, tensor) for name, tensor in state.items() if not name.startswith(TRAINING_ONLY)}
    with atomic_file(path) as temporary:
        try:
            save_file(weights, temporary, {METADATA_KEY: metadata.to_json()})
        except SafetensorError as error:  # as for a full disk
            raise QueryDiffError(f"Cannot write {path}: {error}.") from error


def _stored(name: str, tensor: torch.Tensor) -> torch.Tensor:
    """Return the tensor as it is kept in the file."""
    tensor = tensor.detach().cpu().contiguous()
    if not tensor.is_floating_point():
        return tensor
    if not torch.isfinite(tensor).all():
        raise QueryDiffError(f"The student is not written: its weight {name} holds values that are not finite.")
    half = tensor.half()
    return half if torch.isfinite(half).all() else tensor.float()


def load_checkpoint(path: Path) -> tuple[QueryDiff, ModelMetadata]:
    """Return the student (fp32, eval mode) and the metadata of a checkpoint.

    Raises:
        QueryDiffError: if the file is missing, an engine, truncated, foreign, of a newer version, or fits no variant.
    """
    if not path.is_file():
        raise QueryDiffError(f"No checkpoint {path}.")
    refuse_training_state(path)
    if path.suffix in SUFFIXES.values():
        raise QueryDiffError(f"{path} is an engine: give the checkpoint (.safetensors) that it was exported from.")
    unreadable = f"{path} is not a readable safetensors file: {{reason}}."
    with explained(unreadable, SafetensorError, OSError), safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get(METADATA_KEY)
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    metadata = ModelMetadata.from_json(text, path)
    model = build_model(
        metadata.variant, classes=len(metadata.class_names), **{**metadata.overrides, "auxiliary_head": False}
    )
    _load_weights(model, weights, path)
    return model.eval(), metadata


def _load_weights(model: QueryDiff, weights: dict[str, torch.Tensor], path: Path) -> None:
    with explained(f"{path} does not fit its variant: {{reason}}.", RuntimeError, only=1):
        missing, unexpected = model.load_state_dict(weights, strict=False)
    if missing or unexpected:
        name = (missing or unexpected)[0]
        raise QueryDiffError(
            f"{path} does not fit its variant: {len(missing)} weights are missing and {len(unexpected)} unknown, "
            f"{name} for one; it was made by another version."
        )
