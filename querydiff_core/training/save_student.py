"""Write the student for driving beside Lightning's training states."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.callbacks import Callback

from querydiff_core.deployment.checkpoint import save_checkpoint
from querydiff_core.deployment.metadata import ModelMetadata
from querydiff_core.training.semantic_module import SemanticModule


class SaveStudent(Callback):
    """Write `student.safetensors` (fp16, with metadata, no teacher) after every validation and at the end.

    Args:
        input_size: (height, width) that the student will see when deployed; exports use it.
    """

    def __init__(self, input_size: tuple[int, int] = (256, 512)) -> None:
        self.input_size = tuple(input_size)

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save after a validation."""
        if not trainer.sanity_checking:
            self._save(trainer, pl_module)

    def on_train_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Save at the end."""
        self._save(trainer, pl_module)

    def _save(self, trainer: lightning.Trainer, module: lightning.LightningModule) -> None:
        folder = trainer.log_dir or trainer.default_root_dir  # asked of every process: `log_dir` is a broadcast
        if not trainer.is_global_zero or not isinstance(module, SemanticModule):
            return
        metadata = ModelMetadata(
            variant=module.variant,
            input_size=(self.input_size[0], self.input_size[1]),
            mean=module.model.mean,
            std=module.model.std,
            overrides=module.overrides,
            recipe=_recipe(trainer, module),
            commit=_commit(),
            versions={"torch": torch.__version__, "lightning": lightning.__version__},
        )
        save_checkpoint(module.model, metadata, Path(folder) / "student.safetensors")


def _recipe(trainer: lightning.Trainer, module: SemanticModule) -> dict[str, Any]:
    """Return what made the weights, as plain JSON."""
    data = trainer.datamodule  # type: ignore[attr-defined]
    return {
        "steps": trainer.global_step,
        "module": {key: value for key, value in module.hparams.items() if not key.startswith("_")},
        "data": {"train": [folder.root for folder in data.train], "crop": list(data.transform.crop)},
        "batch_size": data.batch_size,
        "metrics": {name: round(float(value), 4) for name, value in trainer.callback_metrics.items()},
    }


def _commit() -> str:
    """Return the commit of this repository, or an empty string outside a checkout."""
    command = ["git", "-C", str(Path(__file__).parent), "describe", "--always", "--dirty"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    return result.stdout.strip()
