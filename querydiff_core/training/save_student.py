"""Write the student for driving beside Lightning's training states."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from querydiff_core.inference.checkpoint import save_weights
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.training.moving_average import student_weights
from querydiff_core.training.semantic_module import SemanticModule


class SaveStudent(Callback):
    """Write `student.safetensors` (fp16, with metadata, no teacher) after every validation and at the end.

    Args:
        input_size: height and width in pixels of the images that the student will get when deployed; exports use it.
    """

    def __init__(self, input_size: tuple[int, int] = (512, 1024)) -> None:
        self.input_size = (input_size[0], input_size[1])

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save after a validation."""
        if not trainer.sanity_checking:
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save at the end."""
        self._save(trainer, pl_module)

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        # Both are asked of every process: `log_dir` is a broadcast, and FSDP gathers the weights from all.
        folder = trainer.log_dir or trainer.default_root_dir
        state = trainer.strategy.lightning_module_state_dict()
        if not trainer.is_global_zero or not isinstance(module, SemanticModule):
            return
        metadata = ModelMetadata(
            variant=module.variant,
            input_size=self.input_size,
            mean=module.model.mean,
            std=module.model.std,
            overrides=module.overrides,
            recipe=_recipe(trainer, module),
            commit=_commit(),
            versions={"torch": torch.__version__, "lightning": lightning.__version__},
        )
        save_weights(student_weights(state), metadata, Path(folder) / "student.safetensors")


def _recipe(trainer: lightning.Trainer, module: SemanticModule) -> dict[str, Any]:
    """Return what made the weights, as plain JSON."""
    return {
        "steps": trainer.global_step,
        "processes": trainer.world_size,
        "module": module.identity,
        "data": module.data.identity,
        "metrics": {name: round(float(v), 4) for name, v in trainer.callback_metrics.items() if torch.isfinite(v)},
    }


def _commit() -> str:
    """Return the commit of this repository, or an empty string outside a checkout or where there is no git."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip()
    except OSError:
        return ""
