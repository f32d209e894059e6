"""How far a run is and what time remains: a bar in a terminal, lines in a log file."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import Any

import lightning
from lightning.pytorch.callbacks import ProgressBar, RichProgressBar

Metrics = dict[str, int | str | float | dict[str, float]]


class RunBar(RichProgressBar):
    """Lightning's bar for a run that is one epoch long."""

    def get_metrics(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> Metrics:
        """Return what the bar shows beside its length; the run's folder was said before."""
        return _short(super().get_metrics(trainer, pl_module))

    def _get_train_description(self, current_epoch: int) -> str:
        return "Training"


class RunLines(ProgressBar):
    """A line every `log_every_n_steps` steps, for logs of jobs that nobody watches."""

    def disable(self) -> None:
        """Lightning asks this of every process but the first, and only the first prints."""

    def enable(self) -> None:
        """Nothing to do."""

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Start the clock."""
        self._started, self._first = time.monotonic(), trainer.global_step
        self._said = trainer.global_step

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, *batch: Any, **named: Any
    ) -> None:
        """Print a line where one is due; only the first process does."""
        step, each = trainer.global_step, trainer.log_every_n_steps  # type: ignore[attr-defined]
        if not trainer.is_global_zero or step == self._said or step % max(1, each):
            return
        self._said = step
        seconds = (time.monotonic() - self._started) / max(1, step - self._first)
        left = timedelta(seconds=round(seconds * (trainer.max_steps - step)))
        metrics = _short(self.get_metrics(trainer, pl_module))
        numbers = " ".join(f"{name} {float(value):.4g}" for name, value in metrics.items())  # type: ignore[arg-type]
        print(f"step {step} of {trainer.max_steps}, {left} left, {1 / seconds:.3g} steps/s: {numbers}", flush=True)


def _short(metrics: Metrics) -> Metrics:
    return {name.removeprefix("train/"): value for name, value in metrics.items() if name != "v_num"}
