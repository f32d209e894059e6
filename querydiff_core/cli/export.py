"""`querydiff export`: turn a checkpoint into an engine file."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from querydiff_core.cli.image_size import image_size
from querydiff_core.errors import QueryDiffError

SUMMARY = "turn a checkpoint into one engine file (ONNX)"


def main(argv: Sequence[str]) -> int:
    """Export a checkpoint, run the artefact against it, and print how well they agree."""
    arguments = _parser().parse_args(argv)
    if arguments.output.suffix != ".onnx":
        raise QueryDiffError(f"--output must end in .onnx, found {arguments.output}.")

    from dataclasses import replace  # noqa: PLC0415

    from querydiff_core.deployment.checkpoint import load_checkpoint  # noqa: PLC0415
    from querydiff_core.deployment.onnx_export import export_onnx  # noqa: PLC0415

    model, metadata = load_checkpoint(arguments.checkpoint)
    metadata = replace(metadata, input_size=arguments.size or metadata.input_size)
    export_onnx(model, metadata, arguments.output)
    size = arguments.output.stat().st_size / 1e6
    print(f"{arguments.output}: {size:.1f} MB, {_agreement(arguments):.3%} of labels equal to the checkpoint's")
    return 0


def _agreement(arguments: argparse.Namespace) -> float:
    """Return the share of equal labels of artefact and checkpoint on a street scene of each condition."""
    import numpy as np  # noqa: PLC0415

    from querydiff_core.data.street_scenes import CONDITIONS, render_scene  # noqa: PLC0415
    from querydiff_core.deployment.segmenter import Segmenter  # noqa: PLC0415

    exported = Segmenter.load(arguments.output, device="cpu")
    checkpoint = Segmenter.load(arguments.checkpoint, device="cpu", size=exported.metadata.input_size)
    images = np.stack([render_scene(seed, (360, 640), condition).image for seed, condition in enumerate(CONDITIONS)])
    return float((exported(images).labels == checkpoint(images).labels).mean())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "querydiff export",
        description="Write a checkpoint as one graph from uint8 camera image to uint8 labels and confidence, with "
        "normalisation, resizing and arg-max inside and the weights stored as fp16.",
        epilog="example: querydiff export runs/small/student.safetensors --size 256x512 --output small.onnx",
    )
    parser.add_argument("checkpoint", type=Path, help="student.safetensors that training wrote")
    parser.add_argument("--output", type=Path, required=True, help="engine file to write (.onnx)")
    parser.add_argument("--size", type=image_size, help="HxW that the network sees (default: the checkpoint's)")
    return parser
