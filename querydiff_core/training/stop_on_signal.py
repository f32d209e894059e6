"""Ctrl-C and SIGTERM end a run after the step that is under way, with its training state written."""

from __future__ import annotations

from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

from querydiff_core.utils.stop_signal import StopSignal


class StopOnSignal(Callback):
    """Stop cleanly, without another validation, when asked to; a second signal interrupts at once.

    Args:
        advice: how the run goes on; by default the flag that names its training state.

    Attributes:
        stopped: whether the run ended because it was asked to.
    """

    stopped = False

    def __init__(self, advice: str | None = None) -> None:
        self.advice = advice

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._request = StopSignal().__enter__()

    def on_train_batch_end(
        self,
        trainer: lightning.Trainer,
        pl_module: lightning.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        """Stop after a whole optimiser step, all processes that train together at the same one."""
        if (batch_idx + 1) % trainer.accumulate_grad_batches == 0:
            self.stopped = trainer.strategy.reduce_boolean_decision(self._request.made, all=False)
            trainer.should_stop = trainer.should_stop or self.stopped
            if self.stopped and trainer.global_step < trainer.max_steps:
                trainer.limit_val_batches = 0

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen no more, and say how to go on."""
        self._request.__exit__(None, None, None)
        if self.stopped and trainer.is_global_zero:
            state = getattr(trainer.checkpoint_callback, "last_model_path", "") or "last"
            print(f"stopped at step {trainer.global_step}: {self.advice or f'go on with --resume {state}'}", flush=True)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Listen no more."""
        if hasattr(self, "_request"):
            self._request.__exit__(None, None, None)
