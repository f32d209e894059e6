"""Ctrl-C and SIGTERM end a run after the step that is under way, with its training state written."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

import lightning
from lightning.pytorch.callbacks import Callback

SIGNALS = (signal.SIGINT, signal.SIGTERM)


class StopOnSignal(Callback):
    """Stop cleanly when asked to; a second signal interrupts at once.

    Attributes:
        stopped: whether the run ended because it was asked to.
    """

    stopped = False

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Listen."""
        self._asked = False
        self._before = {number: signal.signal(number, self._ask) for number in SIGNALS}

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
            self.stopped = trainer.strategy.reduce_boolean_decision(self._asked, all=False)
            trainer.should_stop = trainer.should_stop or self.stopped

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write the training state and say how to go on."""
        self._restore()
        if not self.stopped:
            return
        state = getattr(trainer.checkpoint_callback, "last_model_path", "")
        if state:
            trainer.save_checkpoint(state)
        if trainer.is_global_zero:
            print(f"stopped at step {trainer.global_step}: go on with --resume {state or 'last'}", flush=True)

    def on_exception(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, exception: BaseException
    ) -> None:
        """Listen no more."""
        self._restore()

    def _ask(self, number: int, frame: FrameType | None) -> None:
        if self._asked:
            self._restore()
            raise KeyboardInterrupt
        self._asked = True

    def _restore(self) -> None:
        for number, handler in getattr(self, "_before", {}).items():
            signal.signal(number, handler)
