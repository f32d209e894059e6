"""Resume training: states are written whole, found again, and only continue the experiment that made them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.plugins.io import TorchCheckpointIO

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.atomic_file import atomic_file

LAST, PREVIOUS = "last", "previous"


class WholeFileCheckpoints(TorchCheckpointIO):
    """Write training states beside their place and rename them, so that a killed run leaves the last one whole.

    The state before the last is kept as `previous.ckpt`: where training breaks, the last may be broken already.

    Attributes:
        step: of the state that was written last; None before.
        path: of the state that was written or read last; None before.
    """

    step: int | None = None
    path: Path | None = None

    def load_checkpoint(self, path: Any, *arguments: Any, **options: Any) -> dict[str, Any]:
        """Read the state at `path`."""
        self.path = Path(path)
        return super().load_checkpoint(path, *arguments, **options)

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write `checkpoint` to `path`.

        Raises:
            QueryDiffError: if it cannot be written, as on a full disk.
        """
        path = Path(path)
        for leftover in path.parent.glob(f".{path.stem}.*{path.suffix}"):  # of a process that was killed here
            leftover.unlink()
        try:
            with atomic_file(path) as beside:
                torch.save(checkpoint, beside)
                if path.stem.startswith(LAST) and path.exists():
                    os.replace(path, path.with_name(path.name.replace(LAST, PREVIOUS, 1)))
        except (OSError, RuntimeError) as error:  # torch has errors of its own for a full disk
            reason = str(error).splitlines()[0]
            raise QueryDiffError(f"Cannot write {path} ({reason}): is the disk full? Older states are kept.") from error
        self.step, self.path = checkpoint["global_step"], path


class KeepFinalState(Callback):
    """Write the training state where a run ends between two of its regular states."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path

    def on_train_batch_start(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Number the steps in logs as the optimiser does.

        Lightning's own number is one too high after a run that was stopped where a validation was due.
        """
        trainer.fit_loop.epoch_loop._batches_that_stepped = trainer.global_step

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write it, in all processes together."""
        last = getattr(trainer.checkpoint_callback, "last_model_path", "") if self.path is None else self.path
        written = trainer.strategy.checkpoint_io
        step = trainer.strategy.broadcast(written.step if isinstance(written, WholeFileCheckpoints) else None)
        if last and step != trainer.global_step:
            trainer.save_checkpoint(last, weights_only=False)


class KeepValidatedState(KeepFinalState):
    """Write the training state to `path` after every validation, so that none is missing of a run that is killed."""

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write it."""
        assert self.path is not None
        trainer.save_checkpoint(self.path, weights_only=False)


def kept_states(trainer: lightning.Trainer) -> str:
    """Return which training states a run that fails leaves, in words."""
    written, last = trainer.strategy.checkpoint_io, getattr(trainer.checkpoint_callback, "last_model_path", "")
    if not last and isinstance(written, WholeFileCheckpoints):
        last = written.path
    return f"{last} and previous.ckpt beside it are kept" if last else "no training state was written yet"


def training_state(resume: str, runs: Path) -> Path:
    """Return the training state that `--resume` names: a file, or `last` for the newest below `runs`.

    Raises:
        QueryDiffError: if there is none, or it cannot be read.
    """
    if resume == "last":
        found = list(runs.rglob(f"{LAST}*.ckpt")) or list(runs.rglob(f"{PREVIOUS}*.ckpt"))
        states = sorted(found, key=lambda file: file.stat().st_mtime)
        if not states:
            raise QueryDiffError(f"There is no run to resume below {runs}: leave --resume out to start one.")
        path = states[-1]
    else:
        path = Path(resume)
    if not path.is_file():
        raise QueryDiffError(f"No training state {path}: give a .ckpt file of a run, or `last`.")
    unreadable = (
        f"{path} cannot be read as a training state: it is damaged or of another kind. Where previous.ckpt is beside "
        "it, that is the state before."
    )
    with explained(unreadable, Exception):  # torch raises errors of many kinds for a file that it cannot read
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
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


def refuse_fewer_steps(checkpoint: Mapping[str, Any], asked: int) -> None:
    """Refuse to resume a run that has done more steps than it is `asked` for.

    Raises:
        QueryDiffError: if it has.
    """
    if (done := checkpoint["global_step"]) > asked:
        raise QueryDiffError(f"The run has done {done} steps and is asked for {asked}: give --trainer.max_steps more.")
