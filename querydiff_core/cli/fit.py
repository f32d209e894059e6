"""`querydiff fit`: train a student from a YAML experiment."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

SUMMARY = "train a student: a YAML experiment plus typed flags"


def main(argv: Sequence[str]) -> int:
    """Train as the configuration and the flags say; `--resume` continues a run exactly."""
    from lightning.pytorch.cli import LightningArgumentParser, LightningCLI  # noqa: PLC0415 (seconds; --help of others)

    from querydiff_core.data.datamodule import SegmentationData  # noqa: PLC0415
    from querydiff_core.training.semantic_module import SemanticModule  # noqa: PLC0415

    # Processes that train together are started from sys.argv, so the arguments are passed and sys.argv stays.
    warnings.filterwarnings("ignore", "LightningCLI's args parameter")

    class Fit(LightningCLI):
        def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
            parser.add_argument("--resume", type=str, default=None, help="training state (.ckpt) to continue")

    cli: Any = Fit(
        SemanticModule,
        SegmentationData,
        run=False,
        args=list(argv) or ["--help"],
        parser_kwargs={"prog": "querydiff fit", "description": __doc__},
        save_config_kwargs={"overwrite": True},
    )
    cli.trainer.fit(cli.model, cli.datamodule, ckpt_path=cli.config.resume, weights_only=True)
    return 0
