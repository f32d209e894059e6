"""PyTorch: a checkpoint run as it is, or a package that `torch.export` and AOTInductor compiled."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from querydiff_core.errors import QueryDiffError, one_line
from querydiff_core.inference.device_runner import DeviceRunner, torch_device
from querydiff_core.inference.engine import EngineMismatchError, EngineOptions, check_camera
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.utils.quiet import quiet


class TorchEngine:
    """Run a function of tensors on the CPU or a GPU."""

    has_confidence = True

    def __init__(self, runner: DeviceRunner, metadata: ModelMetadata, name: str, device: str) -> None:
        self._runner: DeviceRunner | None = runner
        self.metadata = metadata
        self.name = name
        self.device = device

    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""
        if self._runner is None:
            raise QueryDiffError("The engine is closed.")
        check_camera(self.metadata, images)
        return self._runner(images)

    def close(self) -> None:
        """Free the model."""
        self._runner = None
        if self.device != "cpu":
            torch.cuda.empty_cache()


def open_checkpoint(path: Path, options: EngineOptions) -> TorchEngine:
    """Open a `.safetensors` checkpoint, to be run eagerly and in fp32."""
    # These bring timm and transformers, which compiled engines do without.
    from querydiff_core.inference.checkpoint import load_checkpoint
    from querydiff_core.inference.segmentation_graph import SegmentationGraph

    device = torch_device(options.device)
    use_threads(options.threads)
    model, metadata = load_checkpoint(path)
    graph = SegmentationGraph(model, options.size or metadata.input_size).to(device)
    return TorchEngine(DeviceRunner(graph, device), metadata, "torch", device)


def open_package(path: Path, metadata: ModelMetadata, device: str, options: EngineOptions) -> TorchEngine:
    """Open a `.pt2` package: a shared library that is loaded into this process.

    Raises:
        EngineMismatchError: if this PyTorch cannot load it.
    """
    use_threads(options.threads)
    index = int(device.partition(":")[2] or -1)
    try:
        # CUDA graphs cannot be captured around the locks of a package that several threads may call.
        with quiet():
            package = torch._inductor.aoti_load_package(str(path), run_single_threaded=True, device_index=index)
    except Exception as error:  # of the dynamic loader, the archive reader or CUDA
        raise EngineMismatchError(f"This PyTorch cannot load {path}: {one_line(error)}; export it again.") from error
    batch = metadata.build.batch if metadata.build else None
    runner = DeviceRunner(package, device, batch, cuda_graphs=options.cuda_graphs)
    return TorchEngine(runner, metadata, "inductor", device)


def use_threads(threads: int | None) -> None:
    """Let PyTorch use that many CPU threads in this process; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)
