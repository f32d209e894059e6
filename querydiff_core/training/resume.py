"""Resuming: training states are written whole, found again, and continue their own experiment only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from querydiff_core.errors import QueryDiffError
from querydiff_core.whole_file import whole_file


class WholeFileCheckpoints(TorchCheckpointIO):
    """Write training states beside their place and rename them, so that a killed run leaves the last one whole."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as beside:
            torch.save(checkpoint, beside)


def training_state(resume: str, runs: Path) -> Path:
    """Return the training state that `--resume` names: a file, or `last` for the newest below `runs`.

    Raises:
        QueryDiffError: if there is none, or it cannot be read.
    """
    if resume == "last":
        states = sorted(runs.rglob("last*.ckpt"), key=lambda file: file.stat().st_mtime)
        if not states:
            raise QueryDiffError(f"There is no run to resume below {runs}: leave --resume out to start one.")
        path = states[-1]
    else:
        path = Path(resume)
    if not path.is_file():
        raise QueryDiffError(f"No training state {path}: give a .ckpt file of a run, or `last`.")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception as error:  # torch raises errors of many kinds for a file that it cannot read
        raise QueryDiffError(f"{path} cannot be read as a training state: it is damaged or of another kind.") from error
    if not isinstance(state, dict) or "experiment" not in state:
        raise QueryDiffError(f"{path} is no training state of querydiff fit.")
    return path


def refuse_other_experiment(checkpoint: Mapping[str, Any], experiment: Mapping[str, Mapping[str, Any]]) -> None:
    """Compare what a training state was made by with what is about to continue it.

    Raises:
        QueryDiffError: naming the first setting that differs.
    """
    made_by = checkpoint.get("experiment", {})
    for part, settings in experiment.items():
        for name, value in settings.items():
            before = made_by.get(part, {}).get(name)
            if before != value:
                raise QueryDiffError(
                    f"The training state is of another experiment: {part}.{name} was {before!r} and is now {value!r}. "
                    "Resume with the configuration it was made by (config.yaml in its folder), or begin a new run "
                    "from its weights with --model.start_from."
                )
