"""What a run is, how far it is and how much time remains: a bar in a terminal, lines in a log file."""

from __future__ import annotations

import sys
import time
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback, ProgressBar, RichProgressBar

from querydiff_core.training.trained_module import TrainedModule

Metrics = dict[str, int | str | float | dict[str, float]]
OF_STEPS = ("train/", "rate")
"""What is logged of training steps, not of validations, begins with one of these."""


def run_progress() -> ProgressBar:
    """Return a bar for a terminal, or lines for a log file."""
    return RunBar() if sys.stdout.isatty() else RunLines()


class AnnounceRun(Callback):
    """Print what a run is and where it writes, before it starts to count steps."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print a line for each in the first process."""
        folder = trainer.log_dir or trainer.default_root_dir  # asked of every process: `log_dir` is a broadcast
        if trainer.is_global_zero and isinstance(pl_module, TrainedModule):
            lines = pl_module.announcement()
            lines.setdefault("writes to", folder)
            print("\n".join(f"{label:12} {text}" for label, text in lines.items()), flush=True)


class RunBar(RichProgressBar):
    """Lightning's bar for a run that is one epoch long."""

    @property
    def total_train_batches(self) -> int | float:
        """Return the length of the whole run, also where it goes on; Lightning counts the steps that are left."""
        return self.trainer.num_training_batches

    def get_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> Metrics:
        """Return the values beside the bar; the run's folder was announced before."""
        return _short(super().get_metrics(trainer, pl_module))

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"


class RunLines(ProgressBar):
    """Print a line every `log_every_n_steps` steps, for the log files of jobs that nobody watches."""

    def disable(self) -> None:
        """Do nothing: Lightning asks this of every process but the first, and only the first prints."""

    def enable(self) -> None:
        """Do nothing."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._started, self._first = time.monotonic(), trainer.global_step
        self._printed = trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *batch: Any, **named: Any
    ) -> None:
        """Print a line where one is due; only the first process does."""
        step, each = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.is_global_zero or step == self._printed or step % max(1, each):
            return
        self._printed = step
        seconds = (time.monotonic() - self._started) / max(1, step - self._first)
        left = timedelta(seconds=round(seconds * (trainer.max_steps - step)))
        metrics = _short(self.get_metrics(trainer, pl_module))
        numbers = " ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())  # type: ignore[arg-type]
        print(f"step {step} of {trainer.max_steps}, {left} left, {1 / seconds:.3g} steps/s: {numbers}", flush=True)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Print the scores of a validation; only the first process does."""
        scores = [f"{n} {float(v):.4g}" for n, v in trainer.callback_metrics.items() if not n.startswith(OF_STEPS)]
        if trainer.is_global_zero and not trainer.sanity_checking and scores:
            print(f"validated at step {trainer.global_step}: {' '.join(scores)}", flush=True)


def _short(metrics: Metrics) -> Metrics:
    return {name.removeprefix("train/"): value for name, value in metrics.items() if name != "v_num"}
