"""Begin training with the weights of an earlier run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.training.moving_average import student_weights


def start_from_weights(model: nn.Module, path: str, parts: Sequence[str] | None = None) -> list[str]:
    """Load the student of a training state (`.ckpt`) or a checkpoint for driving (`.safetensors`).

    Of a training state it is the moving average where there is one. The latter has no auxiliary head, which then starts
    from scratch.

    Args:
        model: the student.
        path: the file.
        parts: names of the modules to load, such as `backbone`. All other modules start from scratch, and so does what
            the file lacks of these. None loads everything.

    Returns:
        The modules, or parts of modules, that start from scratch.

    Raises:
        QueryDiffError: if the file cannot be read or holds another variant's weights, or the model has no such part.
    """
    if not Path(path).is_file():
        raise QueryDiffError(f"No file {path} to start from: give a training state (.ckpt) or a .safetensors file.")
    weights = _training_state(path) if path.endswith(".ckpt") else _checkpoint(path)
    if parts is not None:
        weights = _only(weights, parts, [name for name, _ in model.named_children()])
    with explained(f"{path} holds another variant's weights: {{reason}}.", RuntimeError, only=-1):  # sizes differ
        missing, unexpected = model.load_state_dict(weights, strict=False)
    absent = [] if parts is not None else [name for name in missing if not name.startswith("pixel_head.")]
    if wrong := [*unexpected, *absent]:
        raise QueryDiffError(f"{path} holds another variant's weights ({wrong[0]} does not fit).")
    names = [name.split(".") for name in missing]
    return list(dict.fromkeys(".".join(name[: 2 if name[0] in (parts or ()) else 1]) for name in names))


def _only(weights: dict[str, Tensor], parts: Sequence[str], known: Sequence[str]) -> dict[str, Tensor]:
    """Return the weights of these parts."""
    if wrong := [part for part in parts if part not in known]:
        raise QueryDiffError(f"start_parts are modules of the student, {', '.join(known)}; found {wrong[0]!r}.")
    return {name: value for name, value in weights.items() if name.split(".")[0] in parts}


def _training_state(path: str) -> dict[str, Tensor]:
    unreadable = f"{path} cannot be read as a training state: it is damaged or of another kind."
    with explained(unreadable, Exception):  # torch raises errors of many kinds for a file that it cannot read
        return student_weights(torch.load(path, map_location="cpu", weights_only=True)["state_dict"])


def _checkpoint(path: str) -> dict[str, Tensor]:
    unreadable = f"{path} cannot be read as safetensors: it is damaged or of another kind."
    with explained(unreadable, OSError, SafetensorError):
        return {name: value.float() for name, value in load_file(path).items()}
