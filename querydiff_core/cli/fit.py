"""`querydiff fit`: train a student from a YAML experiment."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from querydiff_core.errors import QueryDiffError

SUMMARY = "train a student: a YAML experiment plus typed flags"

DESCRIPTION = """\
Train a student, with or without a diffusion teacher, as YAML files and flags say; flags beat files.

  querydiff fit --config config/train/gta5_dinov2-l.yaml --data.root /datasets
  querydiff fit --config ... --resume last          # go on where the newest run of this experiment stopped
  torchrun --nproc-per-node 4 -m querydiff_core fit --config ... --trainer.devices 4 --trainer.strategy ddp

A run writes runs/<experiment>/version_<n>/: config.yaml, checkpoints/last.ckpt, student.safetensors, pictures/ and
TensorBoard's events (tensorboard --logdir runs). docs/training.md explains the rest.
"""

# METHOD's recipe (section 6), so that an experiment says only what differs.
TRAINER = {
    "max_steps": 60_000,
    "precision": "bf16-mixed",
    "gradient_clip_val": 1.0,
    "val_check_interval": 5_000,
    "check_val_every_n_epoch": None,
    "log_every_n_steps": 50,
    "num_sanity_val_steps": 0,
    "enable_model_summary": False,
    "use_distributed_sampler": False,
}


def main(argv: Sequence[str]) -> int:
    """Train as the configuration and the flags say."""
    from querydiff_core.training.command_line import FitCommand  # noqa: PLC0415 (seconds; --help of other verbs)
    from querydiff_core.training.resume import training_state  # noqa: PLC0415

    _quieten()
    runs = Path("runs") / _experiment(argv)
    cli: Any = FitCommand.parse(list(argv) or ["--help"], TRAINER, runs, DESCRIPTION)
    state = None if cli.config.resume is None else training_state(cli.config.resume, runs)
    try:
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=state, weights_only=True)
    except (RuntimeError, MemoryError) as error:
        if not _out_of_memory(error):
            raise
        raise QueryDiffError(
            "Memory ran out in training: lower --data.batch_size (and raise --trainer.accumulate_grad_batches by as "
            "much), then --data.crop; --model.gradient_checkpointing true and --model.teacher.precision fp16 save "
            "memory too."
        ) from error
    return 130 if cli.stopped else 0


def _experiment(argv: Sequence[str]) -> str:
    """Return the name of a run's folder: those of its configuration files."""
    following = [value for flag, value in pairwise(argv) if flag in ("-c", "--config")]
    joined = [value.removeprefix("--config=") for value in argv if value.startswith("--config=")]
    return "+".join(Path(value).stem for value in [*following, *joined]) or "run"


def _out_of_memory(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, MemoryError) or any(
        sign in text
        for sign in ("out of memory", "not enough memory", "can't allocate memory", "Cannot allocate memory")
    )


def _quieten() -> None:
    """Silence warnings about what is meant: each would be read as a fault."""
    for message in (
        "LightningCLI's args parameter",  # processes that train together are started from sys.argv, which stays
        "You're resuming from a checkpoint that ended before the epoch ended",  # the data module starts in the middle
        "The '.*_dataloader' does not have many workers",
        "Found .* module.* in eval mode at the start of training",  # frozen backbones
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own business
        "Grad strides do not match bucket view strides",  # 1 x 1 convolutions, channels last: harmless
        "Experiment logs directory .* exists",
        "Checkpoint directory .* exists",
    ):
        warnings.filterwarnings("ignore", f".*{message}")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
