"""What the segmenter asks of an engine, and how a file finds its engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from querydiff_core.deployment.metadata import ModelMetadata
from querydiff_core.errors import QueryDiffError


class Engine(Protocol):
    """A compiled segmenter: uint8 RGB in, uint8 labels and confidence out, at the images' size."""

    name: str
    device: str
    metadata: ModelMetadata

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""

    def close(self) -> None:
        """Free the device memory; the engine cannot be called afterwards."""


@dataclass(frozen=True)
class EngineOptions:
    """What a user may choose about an engine.

    `device`: "auto", "cpu" or "cuda[:N]". `threads`: CPU threads, None for all cores. `size`: (height, width) that the
    network sees, None for the file's own; exported engines have theirs built in.
    """

    device: str = "auto"
    threads: int | None = None
    size: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise QueryDiffError(f"threads must be 1 or more, found {self.threads}.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise QueryDiffError(f"device must be auto, cpu, cuda or cuda:N, found {self.device}.")


def open_engine(path: Path, options: EngineOptions) -> Engine:
    """Open `path` with the engine that its suffix names; PyTorch is imported only for files that need it.

    Raises:
        QueryDiffError: if the file is missing, damaged, foreign, or needs what is not installed.
    """
    if not path.is_file():
        raise QueryDiffError(f"No model file {path}: give an exported engine (.onnx) or a checkpoint (.safetensors).")
    if path.suffix == ".onnx":
        from querydiff_core.deployment.onnxruntime_engine import OnnxRuntimeEngine  # noqa: PLC0415

        return OnnxRuntimeEngine(path, options)
    if path.suffix == ".safetensors":
        try:
            from querydiff_core.deployment.torch_engine import TorchEngine  # noqa: PLC0415
        except ImportError as error:
            raise QueryDiffError(
                f"{path} is a checkpoint and needs PyTorch ({error}): pip install 'querydiff_ros[torch]', or export it "
                "to .onnx where PyTorch is installed."
            ) from error
        return TorchEngine(path, options)
    raise QueryDiffError(f"{path}: expected an exported engine (.onnx) or a checkpoint (.safetensors).")
