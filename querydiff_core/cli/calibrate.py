"""`querydiff calibrate`: make the confidence of a checkpoint true, by temperature scaling on labelled images."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.data_arguments import METAVAR, data_sources, evaluation_progress
from querydiff_core.cli.engine_arguments import checkpoint_file
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import check_writable

SUMMARY = "make a checkpoint's confidence true, on labelled images"


def main(argv: Sequence[str]) -> int:
    """Try temperatures, print the best beside today's, and write the checkpoint with it."""
    arguments = parser().parse_args(argv)
    if arguments.output.suffix != ".safetensors":
        raise QueryDiffError(f"A checkpoint is written: --output must end in .safetensors, found {arguments.output}.")
    check_writable(arguments.output)
    from querydiff_core.evaluation.temperature_scaling import scale, try_temperatures
    from querydiff_core.inference.checkpoint import load_checkpoint, save_checkpoint

    source, *more = data_sources([arguments.data])
    if more:
        raise QueryDiffError("One temperature serves all conditions: leave :each out.")
    model, metadata = load_checkpoint(arguments.checkpoint)
    with evaluation_progress(len(source.pairs)) as should_continue:
        trials = try_temperatures(model, arguments.size or metadata.input_size, source, should_continue)
    best = min(trials, key=lambda trial: trial.ece)
    before = next(trial for trial in trials if trial.temperature == 1.0)
    for name, trial in (("as it is", before), ("written", best)):
        figures = f"ECE {100 * trial.ece:.1f}, mIoU {100 * trial.miou:.1f}"
        print(f"{name:<10}temperature {trial.temperature:.2f}: {figures} % on {source.domain}")
    scale(model, best.temperature)
    images = {name: value for name, value in source.to_json().items() if name != "root"}  # where they lay is private
    fitted = {"temperature": best.temperature, "ece": [before.ece, best.ece], "data": images}
    save_checkpoint(model, replace(metadata, recipe={**metadata.recipe, "calibration": fitted}), arguments.output)
    print(f"{arguments.output} is written; export it again for engines")
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff calibrate",
        description="Find the temperature of the class logits that makes the confidence of a checkpoint true on\n"
        "labelled images (least expected calibration error), and write the checkpoint with it. Labels hardly\n"
        "change. Calibrate on images that it did not learn from and that are no test set: 60 generated scenes do.",
        epilog="example:\n  querydiff scenes images --output build/calibration --count 60 --seed 9000000\n"
        "  querydiff calibrate student.safetensors --data street_scenes=build/calibration --output true.safetensors",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("checkpoint", type=checkpoint_file, help="checkpoint of a student")
    add("--data", required=True, metavar=METAVAR, help="labelled images, as `evaluate` takes them")
    add("--output", type=Path, required=True, metavar="FILE.safetensors", help="the checkpoint to write")
    add("--size", type=image_size, metavar="HxW", help="network input (default: that of the checkpoint)")
    return parser
