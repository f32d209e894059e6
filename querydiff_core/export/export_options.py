"""The choices that a user has about an exported engine."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.build_target import SUFFIXES, Format, Precision

MOST_IMAGES = 64
"""The largest batch of one inference."""


@dataclass(frozen=True)
class ExportOptions:
    """How to build an engine.

    `size`: (height, width) that the network sees, None for the checkpoint's. `batch`: fewest and most images of an
    inference. `camera`: (height, width) of the images if it is to be built in. `device`: "cpu", or "cuda" for compiled
    code of a GPU; None for the format's own. `any_gpu`: TensorRT's hardware-compatible mode. `cached`: whether TensorRT
    engines that were built before are taken from the cache. `labels_only`: leave the confidence out of an ONNX graph.
    `calibrate`: folder of images that say which values the maps of an int8 graph take.
    """

    format: Format = "onnx"
    size: tuple[int, int] | None = None
    batch: tuple[int, int] = (1, 8)
    precision: Precision = "fp32"
    camera: tuple[int, int] | None = None
    device: Literal["cpu", "cuda"] | None = None
    any_gpu: bool = False
    cached: bool = True
    labels_only: bool = False
    calibrate: Path | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.batch[0] <= self.batch[1] <= MOST_IMAGES:
            raise QueryDiffError(
                f"The batch must be MIN:MAX with 1 <= MIN <= MAX <= {MOST_IMAGES}, found "
                f"{self.batch[0]}:{self.batch[1]}."
            )
        if self.format == "tensorrt" and (self.camera or self.device == "cpu"):
            raise QueryDiffError(
                "TensorRT engines run on a GPU and take cameras of any size: leave out --camera and --device cpu."
            )
        if self.any_gpu and self.format != "tensorrt":
            raise QueryDiffError(
                f"Only TensorRT has a mode for several kinds of GPU; leave out --any-gpu for {self.format}."
            )

        if self.labels_only and self.format != "onnx":
            raise QueryDiffError(
                f"Only ONNX has a graph without confidence; leave out --labels-only for {self.format}."
            )
        self._check_int8()

    @property
    def target_device(self) -> Literal["cpu", "cuda"]:
        """Return where the engine will run; ONNX files run anywhere."""
        return self.device or ("cuda" if self.format == "tensorrt" else "cpu")

    def _check_int8(self) -> None:
        if (self.precision == "int8") is (self.calibrate is None):
            raise QueryDiffError(
                "--precision int8 and --calibrate FOLDER go together: int8 needs images as the camera gives them."
            )
        if self.precision == "int8" and self.format != "onnx":
            raise QueryDiffError(f"int8 is for .onnx files: choose fp16 or bf16 for {self.format}.")

    def check_output(self, output: Path) -> None:
        """Refuse a file name whose suffix is another format's."""
        suffix = SUFFIXES[self.format]
        if output.suffix != suffix:
            raise QueryDiffError(f"--output must end in {suffix} for --format {self.format}, found {output}.")
