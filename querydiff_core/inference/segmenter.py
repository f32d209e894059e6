"""The one boundary between numpy images and engines: uint8 RGB in, `Segmentation` out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.engine import Engine, EngineOptions, Provider
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.open_engine import open_engine
from querydiff_core.inference.sliding_window import SlidingWindow
from querydiff_core.label_space import LabelSpace


@dataclass(frozen=True)
class Segmentation:
    """What a segmenter sees in one image `(H, W)` or in a batch `(B, H, W)`.

    `labels`: uint8 trainIds. `confidence`: uint8, 255 = certain; None if the engine was exported without. `timings`:
    seconds by stage.
    """

    labels: np.ndarray
    confidence: np.ndarray | None
    timings: Mapping[str, float] = field(default_factory=dict)


class Segmenter:
    """Label images with an engine; batch, size and sliding window are handled here.

    >>> segmenter = Segmenter.load()
    >>> segmenter(np.zeros((64, 128, 3), np.uint8)).labels.shape
    (64, 128)
    """

    def __init__(self, engine: Engine, window: SlidingWindow | None = None) -> None:
        self._engine = engine
        self._window = window

    @classmethod
    def load(
        cls,
        path: str | Path | None = None,
        *,
        device: str = "auto",
        threads: int | None = None,
        size: tuple[int, int] | None = None,
        window: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] | None = None,
        provider: Provider = "auto",
        cuda_graphs: bool = False,
        fallback: bool = False,
    ) -> Segmenter:
        """Open an exported engine or a checkpoint; None opens the shipped default, an `.onnx` file.

        Args:
            path: the file; its suffix names the engine: `.onnx`, `.pt2`, `.engine` or `.safetensors`. A `.pt2` file is
                a shared library that runs in this process: open only those that you trust.
            device: "auto", "cpu" or "cuda[:N]".
            threads: CPU threads, None for all cores.
            size: (height, width) that the network sees; checkpoints only, exported engines have theirs built in.
            window: height and width in pixels of a window slid over the image; None looks at the whole image.
            stride: of the window, in pixels; two thirds of the window by default, as in the paper's test.
            provider: what runs `.onnx`: ONNX Runtime's "cpu", "cuda" or "tensorrt", or "openvino"; "auto" takes the
                device's own, and OpenVINO for files in bf16.
            cuda_graphs: replay `.pt2` and `.engine` files on a GPU as CUDA graphs, one for each size of images.
            fallback: where a `.pt2` or `.engine` file was built for another machine, run the checkpoint that it names.

        Raises:
            QueryDiffError: if the file is missing, damaged, foreign or of a newer version, does not fit this machine,
                or an option is wrong.
        """
        sliding = SlidingWindow.of(window, stride)
        file = default_model() if path is None or str(path) == "" else Path(path).expanduser()
        options = EngineOptions(device, threads, size, provider, cuda_graphs, fallback)
        engine = open_engine(file, options)
        if sliding and not engine.has_confidence:
            raise QueryDiffError(
                f"{file} has no confidence, which decides where windows overlap: leave the window out, or export it "
                "without --labels-only."
            )
        return cls(engine, sliding)

    @property
    def metadata(self) -> ModelMetadata:
        """Return what the model file says about itself."""
        return self._engine.metadata

    @property
    def label_space(self) -> LabelSpace:
        """Return the classes that `labels` name."""
        return self._engine.metadata.label_space

    @property
    def engine_name(self) -> str:
        """Return the engine: "onnxruntime", "torch", "inductor" or "tensorrt"."""
        return self._engine.name

    @property
    def device(self) -> str:
        """Return where the engine runs: "cpu" or "cuda:N"."""
        return self._engine.device

    @property
    def has_confidence(self) -> bool:
        """Return whether the engine gives a confidence beside the labels."""
        return self._engine.has_confidence

    def __call__(self, images: np.ndarray) -> Segmentation:
        """Segment uint8 RGB `images`, one `(H, W, 3)` or a batch `(B, H, W, 3)`, at their own size.

        Raises:
            QueryDiffError: if `images` is anything else, or empty.
        """
        _check(images)
        start = time.perf_counter()
        batch = images if images.ndim == 4 else images[None]
        labels, confidence = self._window(self._engine, batch) if self._window else self._engine(batch)
        if images.ndim == 3:
            labels, confidence = labels[0], None if confidence is None else confidence[0]
        return Segmentation(labels, confidence, {"total": time.perf_counter() - start})

    def segment_cameras(self, images: Sequence[np.ndarray]) -> list[Segmentation]:
        """Segment one image `(H_i, W_i, 3)` a camera; images of one size share one inference."""
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, image in enumerate(images):
            groups.setdefault(image.shape, []).append(index)
        results: dict[int, Segmentation] = {}
        for indices in groups.values():
            if len(indices) == 1:
                results[indices[0]] = self(images[indices[0]])
                continue
            batch = self(np.stack([images[i] for i in indices]))
            for row, index in enumerate(indices):
                confidence = None if batch.confidence is None else batch.confidence[row]
                results[index] = Segmentation(batch.labels[row], confidence, batch.timings)
        return [results[index] for index in range(len(images))]

    def warm_up(self, sizes: Sequence[tuple[int, int]] = ()) -> None:
        """Run once for each (height, width), or at the size that suits the model: the first run is slow."""
        for height, width in sizes or [self.metadata.image_size]:
            self(np.zeros((height, width, 3), np.uint8))

    def close(self) -> None:
        """Free the engine's memory; the segmenter cannot be called afterwards."""
        self._engine.close()


def default_model() -> Path:
    """Return the path of the shipped default, `small` as ONNX."""
    return Path(str(resources.files("querydiff_core").joinpath("weights") / "small.onnx"))


def _check(images: np.ndarray) -> None:
    good = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim in (3, 4)
    if not good or images.shape[-1] != 3 or images.size == 0:
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise QueryDiffError(f"Expected uint8 RGB images (H, W, 3) or (B, H, W, 3), not empty; found {found}.")
