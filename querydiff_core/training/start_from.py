"""Begin training with the weights of an earlier run."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError


def start_from_weights(model: nn.Module, path: str) -> None:
    """Load the student of a training state (`.ckpt`) or a checkpoint for driving (`.safetensors`).

    The latter has no auxiliary head, which then starts anew.

    Raises:
        QueryDiffError: if the file cannot be read or holds another variant's weights.
    """
    if not Path(path).is_file():
        raise QueryDiffError(f"No file {path} to start from: give a training state (.ckpt) or a .safetensors file.")
    weights = _training_state(path) if path.endswith(".ckpt") else _checkpoint(path)
    try:
        missing, unexpected = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:  # sizes differ
        reason = str(error).splitlines()[-1].strip()
        raise QueryDiffError(f"{path} holds another variant's weights: {reason}") from error
    wrong = [*unexpected, *(name for name in missing if not name.startswith("pixel_head."))]
    if wrong:
        raise QueryDiffError(f"{path} holds another variant's weights ({wrong[0]} does not fit).")


def _training_state(path: str) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    except Exception as error:  # torch raises errors of many kinds for a file that it cannot read
        raise QueryDiffError(f"{path} cannot be read as a training state: it is damaged or of another kind.") from error
    return {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}


def _checkpoint(path: str) -> dict[str, Tensor]:
    try:
        return {name: value.float() for name, value in load_file(path).items()}
    except (OSError, SafetensorError) as error:
        raise QueryDiffError(f"{path} cannot be read as safetensors: it is damaged or of another kind.") from error
