"""What the segmenter asks of an engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.metadata import ModelMetadata

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
