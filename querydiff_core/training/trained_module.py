"""What all networks that are trained here have in common: losses that stay finite, and runs that can go on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import lightning
import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FullyShardedDataParallel
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from querydiff_core.errors import QueryDiffError
from querydiff_core.training.resume import kept_states, refuse_fewer_steps, refuse_other_experiment
from querydiff_core.utils.distributed import all_processes


class TrainedModule(lightning.LightningModule):
    """A module that describes its run, refuses to continue another one, and stops before it learns NaN.

    Attributes:
        advice: what to do when a loss or a gradient is not finite, one sentence.
    """

    advice: str

    def announcement(self) -> dict[str, str]:
        """Return the lines that describe the run before it starts, by their labels."""
        raise NotImplementedError

    def experiment(self) -> dict[str, dict[str, Any]]:
        """Return the settings that make the run what it is; a training state is only resumed with the same ones."""
        raise NotImplementedError

    def batch_files(self) -> str:
        """Return the image files of the last batch, or nothing where they are not known."""
        return ""

    def log_losses(self, losses: Mapping[str, Tensor], shown: tuple[str, ...] = ("loss",)) -> Tensor:
        """Log `losses`, those in `shown` in the progress bar too, and return the one named `loss`.

        Raises:
            QueryDiffError: if that one is not finite in any of the processes.
        """
        for name, value in losses.items():
            self.log(f"train/{name}", value.detach(), prog_bar=name in shown, sync_dist=True)
        self.log("rate", self.trainer.optimizers[0].param_groups[0]["lr"])
        wrong = [name for name, value in losses.items() if not torch.isfinite(value)]
        if not all_processes(torch.isfinite(losses["loss"])):
            where = f"({', '.join(wrong)}){self._for_files()}" if wrong else "in another process"
            raise QueryDiffError(self._not_finite("loss", where))
        return losses["loss"]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip by the norm of all gradients, and stop before gradients that are not finite reach the weights."""
        sharded, limit = self.trainer.strategy.model, gradient_clip_val or float("inf")
        if gradient_clip_algorithm == "value":
            self.clip_gradients(optimizer, gradient_clip_val, gradient_clip_algorithm)
            return
        if isinstance(sharded, FullyShardedDataParallel):  # only the wrapper knows the norm of what it has sharded
            norm = sharded.clip_grad_norm_(limit)
        else:
            norm = nn.utils.clip_grad_norm_(self.parameters(), limit)
        scaled = getattr(self.trainer.precision_plugin, "scaler", None) is not None  # fp16: it skips such steps
        if not scaled and not all_processes(torch.isfinite(norm)):
            alone = self.trainer.world_size == 1  # otherwise the norm is the mean over processes
            where = f"(norm {float(norm):.4g})" + (self._for_files() if alone else " in one of the processes")
            raise QueryDiffError(self._not_finite("gradient", where))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Keep the settings of the run beside its state."""
        checkpoint["experiment"] = self.experiment()

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume the run of another experiment, or one that has done more than it is asked for."""
        refuse_other_experiment(checkpoint, self.experiment())
        refuse_fewer_steps(checkpoint, self.trainer.max_steps)

    def _for_files(self) -> str:
        files = self.batch_files()
        return f" for {files}" if files else ""

    def _not_finite(self, what: str, where: str) -> str:
        where = f"at step {self.global_step} {where}"
        return f"The {what} is not finite {where}: training stopped and {kept_states(self.trainer)}. {self.advice}"


def polynomial_decay(optimizer: Optimizer, steps: int, warm_up: int = 0, power: float = 0.9) -> LambdaLR:
    """Return the schedule of the paper's recipe, stepped once in every training step.

    The rate rises linearly for `warm_up` steps and then falls as a polynomial of this `power`, from the full rate to 0
    at `steps`; with power 0 it stays.
    """

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return max(0.0, 1.0 - (step - warm_up) / max(1, steps - warm_up)) ** power

    return LambdaLR(optimizer, factor)
