"""What the segmenter asks of an engine, and how a file finds its engine."""

from __future__ import annotations

import logging
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from querydiff_core.deployment.archive import read_archive_metadata
from querydiff_core.deployment.metadata import ModelMetadata
from querydiff_core.errors import QueryDiffError

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "openvino"]


class Engine(Protocol):
    """A compiled segmenter: uint8 RGB in, uint8 labels and (if `has_confidence`) confidence out, at the images' size.

    One thread calls it; two engines on one GPU would wait for each other anyway.
    """

    name: str
    device: str
    metadata: ModelMetadata
    has_confidence: bool

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray | None]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""

    def close(self) -> None:
        """Free the device memory; the engine cannot be called afterwards."""


@dataclass(frozen=True)
class EngineOptions:
    """What a user may choose about an engine.

    `device`: "auto", "cpu" or "cuda[:N]". `threads`: CPU threads, None for all cores. `size`: (height, width) that the
    network sees, None for the file's own; exported engines have theirs built in. `provider`: what runs `.onnx`,
    OpenVINO or one of ONNX Runtime's; "auto" is the device's own, and OpenVINO for bf16. `cuda_graphs`: replay compiled
    engines on a GPU as CUDA graphs, for cameras that keep their size. `fallback`: run the checkpoint that a compiled
    engine names where the engine itself does not fit the machine.
    """

    device: str = "auto"
    threads: int | None = None
    size: tuple[int, int] | None = None
    provider: Provider = "auto"
    cuda_graphs: bool = False
    fallback: bool = False

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise QueryDiffError(f"threads must be 1 or more, found {self.threads}.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise QueryDiffError(f"device must be auto, cpu, cuda or cuda:N, found {self.device}.")
        if self.provider not in get_args(Provider):
            raise QueryDiffError(f"provider must be one of {', '.join(get_args(Provider))}, found {self.provider}.")


class EngineMismatchError(QueryDiffError):
    """A sound engine file that was built for another machine or other libraries."""


def open_engine(path: Path, options: EngineOptions) -> Engine:
    """Open `path` with the engine that its suffix names; PyTorch is imported only for files that need it.

    Raises:
        QueryDiffError: if the file is missing, damaged, foreign, needs what is not installed, or does not fit the
            machine and `options.fallback` is not set.
    """
    if not path.is_file():
        raise QueryDiffError(
            f"No model file {path}: give an exported engine (.onnx, .pt2, .engine) or a checkpoint (.safetensors)."
        )
    if path.suffix == ".onnx":
        return _open_onnx(path, options)
    if path.suffix in (".pt2", ".engine"):
        return _open_compiled(path, options)
    if path.suffix != ".safetensors":
        raise QueryDiffError(
            f"{path}: expected an exported engine (.onnx, .pt2, .engine) or a checkpoint (.safetensors)."
        )
    try:
        from querydiff_core.deployment.torch_engine import open_checkpoint  # noqa: PLC0415

        return open_checkpoint(path, options)
    except ImportError as error:
        raise QueryDiffError(
            f"{path} is a checkpoint and needs PyTorch ({error}): pip install 'querydiff_ros[torch]', or export it "
            "to .onnx where PyTorch is installed."
        ) from error


def _open_onnx(path: Path, options: EngineOptions) -> Engine:
    from querydiff_core.deployment.onnxruntime_engine import OnnxRuntimeEngine  # noqa: PLC0415

    if options.provider != "openvino":
        engine = OnnxRuntimeEngine(path, options)
        if engine.metadata.precision != "bf16":
            return engine
        if options.provider != "auto":
            raise QueryDiffError(
                f"{path} was exported in bf16, which ONNX Runtime does not compute in: choose provider openvino, or "
                "export it in another precision."
            )
    try:
        from querydiff_core.deployment.openvino_engine import OpenVinoEngine  # noqa: PLC0415
    except ImportError as error:
        raise QueryDiffError(
            f"{path} needs OpenVINO ({error}): pip install 'querydiff_ros[openvino]', or "
            + ("choose another provider." if options.provider == "openvino" else "export it in another precision.")
        ) from error
    return OpenVinoEngine(path, options)


def _open_compiled(path: Path, options: EngineOptions) -> Engine:
    metadata = read_archive_metadata(path)
    check_size(path, metadata, options.size)
    try:
        return _open_where_it_fits(path, metadata, options)
    except EngineMismatchError as mismatch:
        if not options.fallback:
            raise
        from querydiff_core.deployment.engine_target import named_checkpoint  # noqa: PLC0415

        checkpoint = named_checkpoint(path, metadata)
        logging.getLogger(__name__).warning("%s Running %s instead.", mismatch, checkpoint)
        return open_engine(checkpoint, replace(options, size=metadata.input_size))


def _open_where_it_fits(path: Path, metadata: ModelMetadata, options: EngineOptions) -> Engine:
    try:
        from querydiff_core.deployment.engine_target import check_target  # noqa: PLC0415
        from querydiff_core.deployment.tensorrt_engine import open_plan  # noqa: PLC0415
        from querydiff_core.deployment.torch_engine import open_package  # noqa: PLC0415
    except ImportError as error:
        raise QueryDiffError(
            f"{path} needs PyTorch ({error}): pip install 'querydiff_ros[torch]', or use an .onnx engine."
        ) from error
    device = check_target(path, metadata, options.device)
    open_file = open_plan if path.suffix == ".engine" else open_package
    return open_file(path, metadata, device, options)


def check_size(path: Path, metadata: ModelMetadata, size: tuple[int, int] | None) -> None:
    """Refuse another network input than the one that is built into an exported engine."""
    if size is not None and tuple(size) != metadata.input_size:
        built = "x".join(map(str, metadata.input_size))
        raise QueryDiffError(f"{path} is built for a network input of {built}: export it again for another size.")


def check_camera(metadata: ModelMetadata, images: np.ndarray) -> None:
    """Refuse images `(B, H, W, 3)` of another size than the camera's, where that is built in."""
    camera = metadata.build and metadata.build.camera
    if camera and images.shape[1:3] != camera:
        built, found = ("x".join(map(str, size)) for size in (camera, images.shape[1:3]))
        raise QueryDiffError(
            f"The engine is built for images of {built} and this one has {found}: export it with --camera {found}, or "
            "without --camera for any size."
        )
