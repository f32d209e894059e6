"""`querydiff export`: turn a checkpoint into an engine file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.engine_arguments import checkpoint_file
from querydiff_core.errors import QueryDiffError
from querydiff_core.export.export_options import MOST_IMAGES, ExportOptions
from querydiff_core.inference.build_target import SUFFIXES, Format, Precision

SUMMARY = "turn a checkpoint into one engine file: ONNX, AOTInductor or TensorRT"


def main(argv: Sequence[str]) -> int:
    """Export a checkpoint, run the artefact against it, and print how well they agree and how fast it is."""
    arguments = parser().parse_args(argv)
    options = ExportOptions(
        format=arguments.format or _format_of(arguments.output),
        size=arguments.size,
        batch=arguments.batch,
        precision=arguments.precision,
        camera=arguments.camera,
        device=arguments.device,
        any_gpu=arguments.any_gpu,
        cached=not arguments.rebuild,
        labels_only=arguments.labels_only,
        calibrate=arguments.calibrate,
    )
    options.check_output(arguments.output)

    from querydiff_core.export.export_engine import export_engine
    from querydiff_core.utils.terminal import progress

    print(f"exporting {arguments.checkpoint} as {options.format}, {options.precision} ...", flush=True)
    with progress("exporting"):
        report = export_engine(arguments.checkpoint, arguments.output, options)
    if report.coverage:
        print(report.coverage)
    parity = report.parity
    confidence = "" if parity.confidence is None else f"confidence {parity.confidence:.2f} of 255 off on average, "
    print(
        f"{arguments.output}: {arguments.output.stat().st_size / 1e6:.1f} MB, {parity.equal:.3%} of labels equal to "
        f"the checkpoint's, {confidence}{parity.speed:.2f} times its speed on {options.target_device}"
    )
    return 0


def batch_range(text: str) -> tuple[int, int]:
    """Return (fewest, most) of `text` such as 1:4, or 2 for both.

    Raises:
        QueryDiffError: if `text` is anything else.
    """
    least, _, most = text.partition(":")
    if not (least.isdecimal() and (most or least).isdecimal()):
        raise QueryDiffError(f"The batch must be MIN:MAX such as 1:4, or one number, found {text!r}.")
    return int(least), int(most or least)


def _format_of(output: Path) -> Format:
    for name, suffix in SUFFIXES.items():
        if output.suffix == suffix:
            return name
    raise QueryDiffError(f"--output must end in {', '.join(SUFFIXES.values())}, found {output}.")


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        "querydiff export",
        description="Write a checkpoint as one graph from uint8 camera image to uint8 labels and confidence, with "
        "normalisation, resizing and arg-max inside. It ends by running the file against the checkpoint on generated "
        "street scenes: where fewer than 99.5 % (fp32), 98 % (fp16, bf16) or 97 % (int8) of the labels are equal, "
        "nothing is written. A .pt2 file is a shared library for this kind of machine, whose code runs when it is "
        "opened.",
        epilog="example: querydiff export runs/small/student.safetensors --size 256x512 --output small.onnx",
    )
    parser.add_argument("checkpoint", type=checkpoint_file, help="student.safetensors that training wrote, or default")
    parser.add_argument("--output", type=Path, required=True, help="engine file to write: .onnx, .pt2 or .engine")
    parser.add_argument("--format", choices=get_args(Format), help="default: the one that --output's suffix names")
    parser.add_argument(
        "--size", type=image_size, metavar="HxW", help="what the network sees (default: the checkpoint's)"
    )
    parser.add_argument(
        "--batch",
        type=batch_range,
        default=(1, 8),
        metavar="MIN:MAX",
        help=f"images of one inference, at most {MOST_IMAGES} (default: 1:8); .onnx takes any number",
    )
    parser.add_argument(
        "--precision", choices=get_args(Precision), default="fp32", help="of the network (default: %(default)s)"
    )
    parser.add_argument(
        "--calibrate",
        type=Path,
        metavar="FOLDER",
        help="int8: images as the camera gives them, at least 16 and of all conditions",
    )
    parser.add_argument(
        "--camera",
        type=image_size,
        metavar="HxW",
        help="size of the images, built in (default: any size); .onnx for `trtexec` needs it",
    )
    parser.add_argument("--labels-only", action="store_true", help=".onnx: leave the confidence out")
    parser.add_argument("--device", choices=("cpu", "cuda"), help="of a .pt2 file (default: cpu)")
    parser.add_argument("--any-gpu", action="store_true", help="TensorRT: for all GPUs from Ampere on, a little slower")
    parser.add_argument("--rebuild", action="store_true", help="TensorRT: build again what is in the cache")
    return parser
