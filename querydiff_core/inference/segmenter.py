"""The one boundary between numpy images and engines: uint8 RGB in, `Segmentation` out."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.engine import Engine, EngineOptions, Provider
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.open_engine import open_engine
from querydiff_core.inference.sliding_window import SlidingWindow
from querydiff_core.label_space import LabelSpace

Name = TypeVar("Name")


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
        provider: Provider = "auto",
        cuda_graphs: bool = False,
        fallback: bool = False,
        window: int | tuple[int, int] | None = None,
        stride: int | tuple[int, int] | None = None,
    ) -> Segmenter:
        """Open the model `path` with these options, which `EngineOptions` explains; None is the shipped default.

        Raises:
            QueryDiffError: if the file is missing, damaged, foreign or of a newer version, does not fit this machine,
                or an option is wrong.
        """
        return cls.open(EngineOptions(path, device, threads, size, provider, cuda_graphs, fallback, window, stride))

    @classmethod
    def open(cls, options: EngineOptions) -> Segmenter:
        """Open the model that `options` name, as `load` does."""
        sliding = SlidingWindow.of(options.window, options.stride)
        engine = open_engine(options.file, options)
        if sliding and not engine.has_confidence:
            raise QueryDiffError(
                f"{options.file} has no confidence, which decides where windows overlap: leave the window out, or "
                "export it without --labels-only."
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
        """Return the engine: "onnxruntime", "openvino", "torch", "inductor" or "tensorrt"."""
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
        """Segment one image `(H, W, 3)` a camera, all of one size, in one inference."""
        batch = self(images[0][None] if len(images) == 1 else np.stack(images))  # one image is not copied
        confidences = [None] * len(images) if batch.confidence is None else batch.confidence
        return [Segmentation(*each, batch.timings) for each in zip(batch.labels, confidences, strict=True)]

    def warm_up(self) -> None:
        """Run once at the size that suits the model: the first run is slow."""
        self(np.zeros((*self.metadata.image_size, 3), np.uint8))

    def close(self) -> None:
        """Free the engine's memory; the segmenter cannot be called afterwards."""
        self._engine.close()


def of_one_size(images: Mapping[Name, np.ndarray]) -> list[list[Name]]:
    """Return the names of images that have one size together."""
    groups: dict[tuple[int, ...], list[Name]] = {}
    for name, image in images.items():
        groups.setdefault(image.shape, []).append(name)
    return list(groups.values())


def _check(images: np.ndarray) -> None:
    good = isinstance(images, np.ndarray) and images.dtype == np.uint8 and images.ndim in (3, 4)
    if not good or images.shape[-1] != 3 or images.size == 0:
        found = f"{images.dtype} {images.shape}" if isinstance(images, np.ndarray) else type(images).__name__
        raise QueryDiffError(f"Expected uint8 RGB images (H, W, 3) or (B, H, W, 3), not empty; found {found}.")
