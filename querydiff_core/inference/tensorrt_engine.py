"""TensorRT: runs a plan that `querydiff export --format tensorrt` built on this kind of GPU."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.archive import read_plan
from querydiff_core.inference.device_runner import DeviceRunner
from querydiff_core.inference.engine import EngineMismatchError, EngineOptions
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.resizing import enlarge, shrink
from querydiff_core.inference.torch_engine import TorchEngine


def open_plan(path: Path, metadata: ModelMetadata, device: str, options: EngineOptions) -> TorchEngine:
    """Open an `.engine` file; a camera of any size is resized to the network's own on the GPU.

    Raises:
        QueryDiffError: if TensorRT is not installed or does not take the plan.
    """
    plan = TensorRTPlan(load_tensorrt(path), read_plan(path), path, device)

    def infer(images: Tensor) -> tuple[Tensor, Tensor]:
        labels, certain = plan(shrink(images, metadata.input_size))
        size = (images.shape[1], images.shape[2])
        return enlarge(labels, size), enlarge(certain, size)

    batch = metadata.build.batch if metadata.build else None
    runner = DeviceRunner(infer, device, batch, cuda_graphs=options.cuda_graphs)
    return TorchEngine(runner, metadata, "tensorrt", device)


class TensorRTPlan:
    """Call a deserialised TensorRT engine: pixels to labels and confidence, on the current stream of one GPU."""

    def __init__(self, tensorrt: Any, plan: bytes, source: Path, device: str) -> None:
        self._device = torch.device(device)
        self._runtime = tensorrt.Runtime(tensorrt.Logger(tensorrt.Logger.ERROR))
        with torch.cuda.device(self._device):
            self._engine = self._runtime.deserialize_cuda_engine(plan)
            self._context = self._engine and self._engine.create_execution_context()
        if self._context is None:
            raise EngineMismatchError(
                f"TensorRT {tensorrt.__version__} does not take the plan in {source}; export it again."
            )
        names = [self._engine.get_tensor_name(index) for index in range(self._engine.num_io_tensors)]
        self._input, self._labels, self._certain = names
        types = {tensorrt.float32: torch.float32, tensorrt.int32: torch.int32, tensorrt.int64: torch.int64}
        self._types = {name: types[self._engine.get_tensor_dtype(name)] for name in names}

    def __call__(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and confidence `(B, h, w)` of `pixels` `(B, 3, h, w)`, float32 in 0..255.

        Raises:
            QueryDiffError: if the engine fails.
        """
        pixels = pixels.contiguous()
        shape = (pixels.shape[0], *pixels.shape[2:])
        labels, certain = (
            torch.empty(shape, dtype=self._types[name], device=self._device) for name in (self._labels, self._certain)
        )
        self._context.set_input_shape(self._input, tuple(pixels.shape))
        for name, tensor in ((self._input, pixels), (self._labels, labels), (self._certain, certain)):
            self._context.set_tensor_address(name, tensor.data_ptr())
        if not self._context.execute_async_v3(torch.cuda.current_stream(self._device).cuda_stream):
            raise QueryDiffError(f"TensorRT could not run a batch of {shape[0]}; its log says why.")
        return labels, certain


def load_tensorrt(path: Path) -> Any:
    """Return the `tensorrt` module.

    Raises:
        EngineMismatchError: if it is not installed.
    """
    try:
        import tensorrt
    except ImportError as error:
        raise EngineMismatchError(
            f"{path} needs TensorRT ({error}): pip install 'querydiff_ros[tensorrt]' on a machine with an NVIDIA GPU, "
            "or use an .onnx engine."
        ) from error
    return tensorrt
