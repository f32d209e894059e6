"""What the segmenter asks of an engine."""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import resources
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
    """Which model runs, and all that a user may choose about how; commands and the node take the same options.

    Attributes:
        model: the file; its suffix names the engine: `.onnx`, `.pt2`, `.engine` or `.safetensors`. None or "" is the
            shipped default, an `.onnx` file. A `.pt2` file is a shared library that runs in this process: open only
            those that you trust.
        device: "auto", "cpu" or "cuda[:N]".
        threads: CPU threads, None for all cores.
        size: (height, width) that the network sees; checkpoints only, exported engines have theirs built in.
        provider: what runs `.onnx`: ONNX Runtime's "cpu", "cuda" or "tensorrt", or "openvino"; "auto" takes the
            device's own, and OpenVINO for files in bf16.
        cuda_graphs: replay `.pt2` and `.engine` files on a GPU as CUDA graphs, one for each size of images.
        fallback: where a `.pt2` or `.engine` file was built for another machine, run the checkpoint that it names.
        window: height and width in pixels of a window slid over the image; None looks at the whole image.
        stride: of the window, in pixels; two thirds of the window by default, as in the paper's test.

    Raises:
        QueryDiffError: if a value is not one of these.
    """

    model: str | Path | None = None
    device: str = "auto"
    threads: int | None = None
    size: tuple[int, int] | None = None
    provider: Provider = "auto"
    cuda_graphs: bool = False
    fallback: bool = False
    window: int | tuple[int, int] | None = None
    stride: int | tuple[int, int] | None = None

    def __post_init__(self) -> None:
        if self.threads is not None and self.threads < 1:
            raise QueryDiffError(f"threads must be 1 or more, found {self.threads}.")
        if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", self.device):
            raise QueryDiffError(f"device must be auto, cpu, cuda or cuda:N, found {self.device}.")
        if self.provider not in get_args(Provider):
            raise QueryDiffError(f"provider must be one of {', '.join(get_args(Provider))}, found {self.provider}.")

    @property
    def file(self) -> Path:
        """Return the path of the model's file, whether it is there or not."""
        return Path(self.model).expanduser() if self.model else default_model()


def default_model() -> Path:
    """Return the path of the shipped default as ONNX."""
    return Path(str(resources.files("querydiff_core").joinpath("weights") / "small.onnx"))


def default_checkpoint() -> Path:
    """Return the path of the checkpoint that the shipped default was exported from."""
    return default_model().with_suffix(".safetensors")


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
