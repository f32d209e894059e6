"""The exported graph for one size of camera, in operators that every compiler has."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from querydiff_core.inference.resizing import nearest_indices
from querydiff_core.inference.segmentation_graph import SegmentationGraph


class FixedCamera(nn.Module):
    """Segment images of one size (height, width); what `SegmentationGraph` computes, but for rounding.

    TensorRT's reader of ONNX has no antialiased resizing and takes uint8 as the graph's inputs and outputs only. With
    both sizes known, antialiased resizing is a product with a constant matrix on either side, enlarging is two look-ups
    of constant indices, and uint8 is cast first and last.
    """

    shrink_rows: Tensor
    shrink_columns: Tensor
    rows: Tensor
    columns: Tensor

    def __init__(self, graph: SegmentationGraph, camera: tuple[int, int]) -> None:
        super().__init__()
        self.segment = graph
        (height, width), (small_height, small_width) = camera, graph.size
        constants = {
            "shrink_rows": _resizing(height, small_height),  # (h, H)
            "shrink_columns": _resizing(width, small_width).T.contiguous(),  # (W, w)
            "rows": nearest_indices(height, small_height, torch.device("cpu")),  # (H,)
            "columns": nearest_indices(width, small_width, torch.device("cpu")),  # (W,)
        }
        for name, constant in constants.items():
            self.register_buffer(name, constant, persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""
        pixels = images.float().permute(0, 3, 1, 2)  # (B, 3, H, W)
        labels, certain = self.segment.label(self.shrink_rows @ pixels @ self.shrink_columns)  # (B, h, w)
        return self._enlarge(labels), self._enlarge(certain)

    def _enlarge(self, small: Tensor) -> Tensor:
        return small.to(torch.int32).index_select(1, self.rows).index_select(2, self.columns).to(torch.uint8)


def _resizing(large: int, small: int) -> Tensor:
    """Return the matrix `(small, large)` that antialiased bilinear resizing multiplies a row of pixels by."""
    return F.interpolate(torch.eye(large)[None, None], (small, large), mode="bilinear", antialias=True)[0, 0]
