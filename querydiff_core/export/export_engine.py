"""Export a checkpoint: build the engine, run it against the checkpoint, and only then give it its name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import cast

import numpy as np
import torch

from querydiff_core.errors import QueryDiffError
from querydiff_core.export.export_options import ExportOptions
from querydiff_core.export.fixed_size_graph import FixedCamera
from querydiff_core.export.half_precision import in_precision
from querydiff_core.export.parity import Parity, bundled_frames, compare
from querydiff_core.inference.build_target import EngineBuild, library_versions, target_here
from querydiff_core.inference.checkpoint import load_checkpoint
from querydiff_core.inference.device_runner import torch_device
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.querydiff import QueryDiff
from querydiff_core.utils.atomic_file import atomic_file, check_writable
from querydiff_core.utils.file_hash import file_hash

LEAST_EQUAL = {"fp32": 0.995, "fp16": 0.98, "bf16": 0.98, "int8": 0.97}
"""Share of labels that must equal the checkpoint's."""

_ROOM = 4
"""Free disk that an export needs, in checkpoints: weights grow from fp16 to fp32, and files are written twice."""


@dataclass(frozen=True)
class ExportReport:
    """The result of an export; `coverage` is TensorRT's count of operators, empty for other formats."""

    metadata: ModelMetadata
    parity: Parity
    coverage: str = ""


def export_engine(checkpoint: Path, output: Path, options: ExportOptions) -> ExportReport:
    """Write the engine `output` if its labels agree with those of `checkpoint`; otherwise write nothing.

    Raises:
        QueryDiffError: for a bad checkpoint, a size that the network cannot take, too little memory or disk, a device
            or library that is not there, or labels that differ from the checkpoint's; an older `output` then stays.
    """
    options.check_output(output)
    check_writable(output)
    if (options.format, options.precision) == ("onnx", "bf16") and find_spec("openvino") is None:
        raise QueryDiffError(
            ".onnx in bf16 is for OpenVINO, which is not installed: pip install 'querydiff_ros[openvino]'."
        )
    torch_device(options.target_device)
    with _room(checkpoint, output):
        model, metadata = load_checkpoint(checkpoint)
        metadata = _metadata(metadata, checkpoint, output, options)
        check_network_size(model, metadata.input_size)
        calibration = _calibration(options, metadata.input_size)
        with atomic_file(output) as temporary:
            coverage = _write(model, metadata, temporary, options, calibration)
            parity = _verify(temporary, checkpoint, output, metadata, options)
    return ExportReport(metadata, parity, coverage)


def check_network_size(model: QueryDiff, size: tuple[int, int]) -> None:
    """Refuse a (height, width) that the network cannot take, and say the nearest that it can.

    Raises:
        QueryDiffError: if there is one.
    """
    if _takes(model, size):
        return
    stride = max(model.backbone.strides)
    for margin in range(8):
        nearest = tuple(max(1, round(side / stride) + margin) * stride for side in size)
        if _takes(model, (nearest[0], nearest[1])):
            found, other = ("x".join(map(str, sides)) for sides in (size, nearest))
            raise QueryDiffError(
                f"{model.variant} cannot take images of {found}: the nearest size that it can is {other}."
            )
    raise QueryDiffError(f"{model.variant} cannot take images of {size[0]}x{size[1]}, nor of any size near it.")


def _takes(model: QueryDiff, size: tuple[int, int]) -> bool:
    try:
        with torch.inference_mode():
            model(torch.zeros(1, 3, *size))
    except (RuntimeError, ValueError, AssertionError) as error:
        if "memory" in str(error):
            raise
        return False
    return True


def _metadata(metadata: ModelMetadata, checkpoint: Path, output: Path, options: ExportOptions) -> ModelMetadata:
    build = EngineBuild(
        format=options.format,
        precision=options.precision,
        batch=options.batch,
        camera=options.camera,
        device=options.target_device,
        any_gpu=options.any_gpu,
        target=target_here(options.format, torch_device(options.target_device)),
        checkpoint=os.path.relpath(checkpoint, output.parent),
        checkpoint_sha256=file_hash(checkpoint),
    )
    size = options.size or metadata.input_size
    return replace(metadata, input_size=size, versions=library_versions(options.format), build=build)


def _calibration(options: ExportOptions, size: tuple[int, int]) -> np.ndarray | None:
    if options.calibrate is None:
        return None
    from querydiff_core.export.quantisation import read_calibration_images

    return read_calibration_images(options.calibrate, options.camera or size)


def _write(
    model: QueryDiff, metadata: ModelMetadata, path: Path, options: ExportOptions, calibration: np.ndarray | None
) -> str:
    # OpenVINO lowers fp32 graphs to bf16 itself, and ONNX files in bf16 are for OpenVINO.
    # int8 is made of the fp32 graph.
    lowered = options.format == "onnx" and options.precision in ("bf16", "int8")
    precision = "fp32" if lowered else options.precision
    network = cast(QueryDiff, in_precision(model, precision))  # computes what it wraps
    graph = SegmentationGraph(network, metadata.input_size)
    exported = FixedCamera(graph, options.camera) if options.camera else graph
    if options.format == "onnx":
        from querydiff_core.export.onnx_export import write_onnx

        write_onnx(exported, metadata, path, labels_only=options.labels_only, calibration=calibration)
    elif options.format == "torch":
        from querydiff_core.export.torch_export import write_package

        write_package(exported, metadata, path)
    else:
        from querydiff_core.export.tensorrt_export import write_engine

        return write_engine(graph, metadata, path, cached=options.cached)
    return ""


def _verify(
    engine_file: Path, checkpoint: Path, output: Path, metadata: ModelMetadata, options: ExportOptions
) -> Parity:
    device = options.target_device
    engine = Segmenter.load(engine_file, device=device)
    reference = Segmenter.load(checkpoint, device=device, size=metadata.input_size)
    parity = compare(engine, reference, bundled_frames(options.camera))
    least = LEAST_EQUAL[options.precision]
    if parity.equal < least:
        raise QueryDiffError(
            f"{output} was not written: {parity.equal:.2%} of its labels equal the checkpoint's and "
            f"{options.precision} must reach {least:.1%}; choose a finer --precision, or train longer."
        )
    return parity


@contextmanager
def _room(checkpoint: Path, output: Path) -> Iterator[None]:
    """Say in one sentence that memory is short, or the disk before anything is written to it."""
    folder = next(parent for parent in (output.absolute().parent, *output.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(folder).free
    needed = _ROOM * checkpoint.stat().st_size if checkpoint.is_file() else 0
    if free < needed:
        raise QueryDiffError(
            f"{folder} has {free / 1e6:.0f} MB free and the export needs about {needed / 1e6:.0f} MB: free some, or "
            "choose another --output."
        )
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "memory" not in str(error):
            raise
        raise QueryDiffError(
            f"{output} was not written: there is not enough memory; close other programs, or lower --size and --batch."
        ) from error
