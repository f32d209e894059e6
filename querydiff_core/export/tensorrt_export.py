"""Write a checkpoint as a TensorRT engine, built by torch_tensorrt (dynamo) for the GPU of this machine.

Written against torch_tensorrt 2.14, the first whose networks are always strongly typed: the engine's precision is the
graph's, never a choice of TensorRT's. docs/deployment.md lists the operators and their converters.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.export.traced_program import check_precision
from querydiff_core.inference.archive import write_plan
from querydiff_core.inference.build_target import EngineBuild
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.cache_folder import cache_folder
from querydiff_core.utils.quiet import quiet

OLDEST = (2, 14)
"""The version of torch_tensorrt whose signatures and converters this was written against."""


class LabelGraph(nn.Module):
    """The part of the graph at the network's own size, which TensorRT converts completely.

    uint8, resizing and enlarging stay with PyTorch, on the GPU: torch_tensorrt has no converter of casts to uint8 nor
    of antialiased resizing.
    """

    def __init__(self, graph: SegmentationGraph) -> None:
        super().__init__()
        self.segment = graph

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels (int32) and confidence `(B, h, w)` of `pixels` `(B, 3, h, w)`, float32 in 0..255."""
        labels, certain = self.segment.label(pixels)
        return labels.to(torch.int32), certain


def write_engine(graph: SegmentationGraph, metadata: ModelMetadata, path: Path, *, cached: bool = True) -> str:
    """Write the engine and return how many operators were converted; `cached` takes one that was built before.

    Raises:
        QueryDiffError: if torch_tensorrt is missing or old, an operator cannot be converted, or the build fails.
    """
    build = metadata.build
    assert build is not None
    torch_tensorrt = load_torch_tensorrt()
    program = trace_labels(graph, build.batch, "cuda")
    check_precision(program, build.precision)
    coverage = _coverage(torch_tensorrt, program, metadata)
    kept = cache_folder("tensorrt") / f"{engine_key(metadata, str(program.graph))}.plan"
    if not (cached and kept.is_file()):
        plan = _convert(torch_tensorrt, program, metadata)
        with atomic_file(kept) as temporary:
            temporary.write_bytes(bytes(plan))
    write_plan(path, kept.read_bytes(), metadata)
    return coverage


def engine_key(metadata: ModelMetadata, program: str) -> str:
    """Return the name of an engine in the cache: equal for builds of the same engine, and only for those.

    It is a hash of the program (its operators, as text), the weights' file, the request, the GPU and the versions.
    """
    assert metadata.build is not None
    build = {name: value for name, value in metadata.build.fields().items() if name != "checkpoint"}  # a mere path
    parts = {
        "program": program,
        "build": build,
        "size": metadata.input_size,
        "mean": metadata.mean,
        "std": metadata.std,
        "versions": dict(metadata.versions),
    }
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def load_torch_tensorrt() -> Any:
    """Return the `torch_tensorrt` module.

    Raises:
        QueryDiffError: if it is not installed, too old, or there is no GPU.
    """
    try:
        import torch_tensorrt
    except ImportError as error:
        raise QueryDiffError(
            f"--format tensorrt needs torch_tensorrt and an NVIDIA GPU ({error}): pip install "
            "'querydiff_ros[tensorrt]', or use --format onnx."
        ) from error
    version = torch_tensorrt.__version__
    if tuple(int(part) for part in version.split(".")[:2]) < OLDEST:
        raise QueryDiffError(
            f"--format tensorrt needs torch_tensorrt {'.'.join(map(str, OLDEST))} or newer, whose engines keep the "
            f"precision that they are given; found {version}."
        )
    return torch_tensorrt


def trace_labels(graph: SegmentationGraph, batch: tuple[int, int], device: str) -> ExportedProgram:
    """Return `LabelGraph` as PyTorch's exported program, on `device`."""
    least, most = batch
    example = torch.rand((least if least == most else max(2, least), 3, *graph.size), device=device) * 255
    sides = {} if least == most else {0: Dim("B", min=least, max=most)}
    with quiet(), torch.no_grad():
        return torch.export.export(LabelGraph(graph).to(device), (example,), dynamic_shapes={"pixels": sides})


def conversion_options(build: EngineBuild) -> Mapping[str, Any]:
    """Return the options of torch_tensorrt beside the program and its input; a test checks the names."""
    timings = cache_folder("tensorrt") / f"timings_{build.target.capability}_{build.target.tensorrt}.bin"
    return {
        "hardware_compatible": build.any_gpu,
        "timing_cache_path": str(timings),
        "require_full_compilation": True,
        "offload_module_to_cpu": True,
    }


def _convert(torch_tensorrt: Any, program: ExportedProgram, metadata: ModelMetadata) -> bytes:
    assert metadata.build is not None
    dynamo, inputs = torch_tensorrt.dynamo, _inputs(torch_tensorrt, metadata)
    options = conversion_options(metadata.build)
    short = "The GPU has not enough free memory to build the engine: free it, or lower --batch."
    failed = "TensorRT could not build the engine: {reason}."  # Exception: of the builder, the converters and CUDA
    with explained(failed, Exception, only=-1), explained(short, torch.cuda.OutOfMemoryError), quiet():
        return dynamo.convert_exported_program_to_serialized_trt_engine(program, arg_inputs=inputs, **options)


def _coverage(torch_tensorrt: Any, program: ExportedProgram, metadata: ModelMetadata) -> str:
    """Return the sentence of torch_tensorrt's dry run that counts operators; keep the full report in the cache.

    Raises:
        QueryDiffError: if an operator has no converter.
    """
    report = io.StringIO()
    with quiet(), contextlib.redirect_stdout(report):
        inputs = _inputs(torch_tensorrt, metadata)
        torch_tensorrt.dynamo.compile(program, arg_inputs=inputs, dryrun=True, min_block_size=1)
    file = cache_folder("tensorrt") / "coverage.txt"
    file.write_text(report.getvalue(), encoding="utf-8")
    lines = [line.strip() for line in report.getvalue().splitlines()]
    for index, line in enumerate(lines):
        if line.startswith("The following ops are currently unsupported"):
            raise QueryDiffError(f"TensorRT has no converter for {lines[index + 1]}; the full report is in {file}.")
    return next((line for line in lines if "Total Operators" in line), f"no count of operators in {file}")


def _inputs(torch_tensorrt: Any, metadata: ModelMetadata) -> list[Any]:
    assert metadata.build is not None
    least, most = metadata.build.batch
    shapes = {
        f"{end}_shape": (images, 3, *metadata.input_size)
        for end, images in (("min", least), ("opt", most), ("max", most))
    }
    if least == most:
        return [torch_tensorrt.Input(shape=shapes["max_shape"], dtype=torch.float32)]
    return [torch_tensorrt.Input(**shapes, dtype=torch.float32)]
