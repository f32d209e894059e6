"""PyTorch: runs a checkpoint as it is, for development and where no export was made."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from querydiff_core.deployment.checkpoint import load_checkpoint
from querydiff_core.deployment.engine import EngineOptions
from querydiff_core.deployment.segmentation_graph import SegmentationGraph
from querydiff_core.errors import QueryDiffError


class TorchEngine:
    """Run a `.safetensors` checkpoint eagerly, in fp32."""

    name = "torch"

    def __init__(self, path: Path, options: EngineOptions) -> None:
        self.device = _device(options.device)
        if options.threads is not None:
            torch.set_num_threads(options.threads)
        model, self.metadata = load_checkpoint(path)
        self._graph: SegmentationGraph | None = SegmentationGraph(model, options.size or self.metadata.input_size)
        self._graph.to(self.device)

    @torch.inference_mode()
    def __call__(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""
        if self._graph is None:
            raise QueryDiffError("The engine is closed.")
        labels, confidence = self._graph(torch.from_numpy(np.array(images)).to(self.device))
        return labels.cpu().numpy(), confidence.cpu().numpy()

    def close(self) -> None:
        """Free the model."""
        self._graph = None
        if self.device != "cpu":
            torch.cuda.empty_cache()


def _device(name: str) -> str:
    if name == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    if name == "cpu":
        return "cpu"
    index = int(name.partition(":")[2] or 0)
    if index >= torch.cuda.device_count():
        raise QueryDiffError(f"device {name} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices.")
    return f"cuda:{index}"
