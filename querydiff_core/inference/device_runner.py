"""Feed a function of device tensors from numpy images: the device, batches that it can take, pinned memory."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from querydiff_core.errors import QueryDiffError, explained

Infer = Callable[[Tensor], tuple[Tensor, Tensor]]
"""uint8 RGB `(B, H, W, 3)` to labels and confidence, uint8 `(B, H, W)`, all on one device."""


def torch_device(name: str) -> str:
    """Return "cpu" or "cuda:N", where PyTorch computes, for "auto", "cpu" or "cuda[:N]".

    Raises:
        QueryDiffError: if there is no such GPU.
    """
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return "cpu"
    index = int(name.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        raise QueryDiffError(f"device {name} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices.")
    return f"cuda:{index}"


class DeviceRunner:
    """Run `infer` on numpy images.

    On a GPU, only uint8 crosses the bus, from and to pinned memory, on a stream of its own.

    Args:
        infer: on `device`.
        device: "cpu" or "cuda:N".
        batch: fewest and most images of one inference: more are split, fewer are filled up with the last one.
        cuda_graphs: replay `infer` as one CUDA graph for each shape of the images; for functions of one shape only.
    """

    def __init__(
        self, infer: Infer, device: str, batch: tuple[int, int] | None = None, *, cuda_graphs: bool = False
    ) -> None:
        self._device = torch.device(device)
        self._batch = batch
        self._on_gpu = self._device.type == "cuda"
        self._stream = torch.cuda.Stream(self._device) if self._on_gpu else None
        self._infer = CapturedGraphs(infer, self._device) if cuda_graphs and self._on_gpu else infer

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`.

        Raises:
            QueryDiffError: if the GPU has not enough memory.
        """
        least, most = self._batch or (1, len(images))
        results = []
        for start in range(0, len(images), most):
            part = images[start : start + most]
            missing = max(0, least - len(part))
            filled = np.concatenate((part, *[part[-1:]] * missing)) if missing else part
            labels, confidence = self._run(np.ascontiguousarray(filled))
            results.append((labels[: len(part)], confidence[: len(part)]))
        if len(results) == 1:
            return results[0]
        return np.concatenate([labels for labels, _ in results]), np.concatenate([sure for _, sure in results])

    def _run(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        if self._stream is None:
            # Messages of ROS are read-only memory, of which PyTorch makes no tensor.
            labels, confidence = self._infer(torch.from_numpy(images if images.flags.writeable else images.copy()))
            return labels.numpy(), confidence.numpy()
        size = "x".join(map(str, images.shape[:3]))
        short = (
            f"{self._device} has not enough free memory for images of {size}: send fewer or smaller ones, or free it."
        )
        with explained(short, torch.cuda.OutOfMemoryError):
            return self._run_on_gpu(images, self._stream)

    def _run_on_gpu(self, images: np.ndarray, stream: torch.cuda.Stream) -> tuple[np.ndarray, np.ndarray]:
        pinned = torch.empty(images.shape, dtype=torch.uint8, pin_memory=True)  # from PyTorch's pool: no allocation
        pinned.numpy()[:] = images
        with torch.cuda.stream(stream):
            outputs = self._infer(pinned.to(self._device, non_blocking=True))
            results = [torch.empty(output.shape, dtype=torch.uint8, pin_memory=True) for output in outputs]
            for result, output in zip(results, outputs, strict=True):
                result.copy_(output, non_blocking=True)
        stream.synchronize()
        return results[0].numpy(), results[1].numpy()


class CapturedGraphs:
    """Replay `infer` as a CUDA graph, captured once for each shape of its input; call it on one stream only."""

    def __init__(self, infer: Infer, device: torch.device) -> None:
        self._infer = infer
        self._device = device
        self._graphs: dict[torch.Size, tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, Tensor]]] = {}

    def __call__(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return what `infer` returns; the tensors are overwritten by the next call."""
        if images.shape not in self._graphs:
            self._graphs[images.shape] = self._capture(images)
        graph, static, outputs = self._graphs[images.shape]
        static.copy_(images, non_blocking=True)
        graph.replay()
        return outputs

    def _capture(self, images: Tensor) -> tuple[torch.cuda.CUDAGraph, Tensor, tuple[Tensor, Tensor]]:
        static = images.clone()
        for _ in range(3):  # libraries choose and load their kernels on the first calls, which cannot be captured
            self._infer(static)
        torch.cuda.current_stream(self._device).synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, stream=torch.cuda.current_stream(self._device)):
            outputs = self._infer(static)
        return graph, static, outputs
