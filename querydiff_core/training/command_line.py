"""What `querydiff fit` understands: Lightning's command line with this project's defaults."""

from __future__ import annotations

from argparse import RawDescriptionHelpFormatter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import DefaultHelpFormatter
from lightning import Trainer
from lightning.pytorch.callbacks import ModelCheckpoint
from lightning.pytorch.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback

from querydiff_core.data.data_source import data_set
from querydiff_core.data.datamodule import SegmentationData
from querydiff_core.training.resume import KeepFinalState
from querydiff_core.training.run_progress import AnnounceRun, run_progress
from querydiff_core.training.save_pictures import SavePictures
from querydiff_core.training.save_student import SaveStudent
from querydiff_core.training.semantic_module import SemanticModule
from querydiff_core.training.stop_on_signal import StopOnSignal


class _Help(DefaultHelpFormatter, RawDescriptionHelpFormatter):
    """Help whose description keeps its lines."""


class FitCommand(LightningCLI):
    """Parse a training run; `parse` returns it with its trainer, model and data module built."""

    @classmethod
    def parse(cls, argv: Sequence[str], trainer: Mapping[str, Any], runs: Path, description: str) -> FitCommand:
        """Build what `argv` says.

        Args:
            argv: the flags.
            trainer: defaults of the trainer.
            runs: folder of this experiment's runs.
            description: of the command, for --help.
        """
        logger = {
            "class_path": "lightning.pytorch.loggers.TensorBoardLogger",
            "init_args": {"save_dir": str(runs.parent), "name": runs.name},
        }
        plugins = [{"class_path": "querydiff_core.training.resume.WholeFileCheckpoints"}]
        return cls(
            SemanticModule,
            SegmentationData,
            run=False,
            args=list(argv),
            seed_everything_default=0,
            trainer_defaults={
                **trainer,
                "logger": logger,
                "plugins": plugins,
                "callbacks": [AnnounceRun(), StopOnSignal(), KeepFinalState()],
            },
            parser_kwargs={
                "prog": "querydiff fit",
                "usage": "querydiff fit --config FILE.yaml [--config OVERLAY.yaml] [--resume last] [flags]",
                "description": description,
                "formatter_class": _Help,
            },
            save_config_callback=SaveConfigCallback,
            save_config_kwargs={"overwrite": True},
        )

    @property
    def stopped(self) -> bool:
        """Whether a signal ended the run before its last step."""
        callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
        return any(callback.stopped for callback in callbacks if isinstance(callback, StopOnSignal))

    def before_instantiate_classes(self) -> None:
        """Refuse data that are not there before the model is built, which may fetch weights."""
        data = self.config.data
        for source in (*data.train, *(data.validation or {}).values()):
            reader = data_set(source.data_set, source.mapping)
            reader.check_request(Path(data.root) / source.root, source.split, source.condition)

    def instantiate_trainer(self, **settings: Any) -> Trainer:
        """Build the trainer, with progress as suits a terminal or a log file, unless that was switched off."""
        if self.config_init.trainer.enable_progress_bar is not False:
            self.trainer_defaults["callbacks"].append(run_progress())
        return super().instantiate_trainer(**settings)

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add what every run does: training states, the student, pictures; and one seed for all."""
        parser.add_argument("--resume", type=str, default=None, help="training state (.ckpt) to go on from, or `last`")
        parser.add_lightning_class_args(ModelCheckpoint, "checkpoint")
        parser.set_defaults(
            {"checkpoint.save_last": True, "checkpoint.save_top_k": 0, "checkpoint.every_n_train_steps": 1000}
        )
        parser.add_lightning_class_args(SaveStudent, "student")
        parser.add_lightning_class_args(SavePictures, "pictures")
        for part in ("model", "data"):
            parser.link_arguments("seed_everything", f"{part}.seed", compute_fn=int)
