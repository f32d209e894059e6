"""`querydiff fit`: train a student from a YAML experiment."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from querydiff_core.errors import QueryDiffError, is_out_of_memory, one_line

SUMMARY = "train a student: a YAML experiment plus typed flags"

DESCRIPTION = """\
Train a student, with or without a diffusion teacher, as YAML files and flags say; flags beat files.

  querydiff fit --config config/train/gta5_dinov2-l.yaml --data.root /datasets
  querydiff fit --config ... --resume last          # go on where the newest run of this experiment stopped
  torchrun --nproc-per-node 4 -m querydiff_core fit --config ... --trainer.devices 4 --trainer.strategy ddp

A run writes runs/<experiment>/version_<n>/: config.yaml, checkpoints/last.ckpt, student.safetensors, pictures/ and
TensorBoard's events (tensorboard --logdir runs). docs/training.md explains the rest.
"""

SINGLE_VALUE = "Expected more than 1 value per channel"
SHARED_MEMORY = ("shared memory", "/torch_", "Bus error", "shm")
"""In what PyTorch says where /dev/shm is full."""

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

MEMORY_ADVICE = (
    "Memory ran out in training. A run goes on (--resume last) with a lower --data.batch_size and "
    "--trainer.accumulate_grad_batches raised by as much, with --model.gradient_checkpointing true, or with "
    "--model.teacher.precision fp16; a smaller --data.crop makes another run."
)


def main(argv: Sequence[str]) -> int:
    """Train as the configuration and the flags say."""
    from querydiff_core.training.command_line import FitCommand
    from querydiff_core.training.resume import training_state

    quieten()
    runs = Path("runs") / _experiment(argv)
    with in_one_sentence(MEMORY_ADVICE):
        cli: Any = FitCommand.parse(list(argv) or ["--help"], TRAINER, runs, DESCRIPTION)
        state = None if cli.config.resume is None else training_state(cli.config.resume, runs)
        cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=state, weights_only=True)
    return 130 if cli.stopped else 0


@contextmanager
def in_one_sentence(memory_advice: str) -> Iterator[None]:
    """Turn what a user can cause in training into one sentence, `memory_advice` where memory runs out."""
    from lightning.fabric.utilities.exceptions import MisconfigurationException

    try:
        yield
    except QueryDiffError as error:  # one of a loader process comes with its traceback as its text
        raise QueryDiffError(str(error).rsplit("QueryDiffError: ", 1)[-1].strip()) from error
    except SystemExit as leaving:  # Lightning's own answer to a second Ctrl-C
        if isinstance(leaving.__context__, KeyboardInterrupt):
            raise KeyboardInterrupt from leaving
        raise
    except (MisconfigurationException, ValueError) as error:
        reason = one_line(error)
        if SINGLE_VALUE in reason:
            raise QueryDiffError(
                "BatchNorm cannot learn from one value a channel, which is what the smallest features of this crop and "
                "batch are: raise --data.batch_size or --data.crop, or, where the decoder has no "
                "BatchNorm (all but small), give --model.frozen_batch_norm true."
            ) from error
        raise QueryDiffError(f"The run cannot begin: {reason}.") from error
    except OSError as error:
        raise QueryDiffError(
            f"The run stopped ({error.filename or 'a file'}: {one_line(error)}): runs are written into `runs` of the "
            "folder that it starts in, or where --trainer.logger.init_args.save_dir says."
        ) from error
    except (RuntimeError, MemoryError) as error:
        if any(sign in str(error) for sign in SHARED_MEMORY):
            raise QueryDiffError(
                "Shared memory (/dev/shm), which loader processes hand images over in, ran out: give the container "
                "more of it (docker run --shm-size 8g, or --ipc host), or use --data.workers 0."
            ) from error
        if not is_out_of_memory(error):
            raise
        raise QueryDiffError(memory_advice) from error


def _experiment(argv: Sequence[str]) -> str:
    """Return the name of a run's folder: those of its configuration files."""
    following = [value for flag, value in pairwise(argv) if flag in ("-c", "--config")]
    joined = [value.removeprefix("--config=") for value in argv if value.startswith("--config=")]
    return "+".join(Path(value).stem for value in [*following, *joined]) or "run"


def quieten() -> None:
    """Silence warnings about what is meant: each would be read as a fault."""
    for message in (
        "LightningCLI's args parameter",  # processes that train together are started from sys.argv, which stays
        "You're resuming from a checkpoint that ended before the epoch ended",  # the data module starts in the middle
        "The '.*_dataloader' does not have many workers",
        "Found .* module.* in eval mode at the start of training",  # frozen backbones
        r"`isinstance\(treespec, LeafSpec\)` is deprecated",  # Lightning's own business
        "It is recommended to use `self.log",  # mIoU is summed over processes by its metric
        "Grad strides do not match bucket view strides",  # 1 x 1 convolutions, channels last: harmless
        "Experiment logs directory .* exists",
        "Checkpoint directory .* exists",
    ):
        warnings.filterwarnings("ignore", f".*{message}")
    logging.getLogger("lightning.pytorch.utilities.rank_zero").setLevel(logging.WARNING)
