"""Trace the exported graph: example images and the sizes that stay open."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.build_target import Precision
from querydiff_core.utils.quiet import quiet

LARGEST_SIDE = 16384

WEIGHTED = {"aten.linear.default", "aten.conv2d.default", "aten.convolution.default"}
"""The operators that read weights, and take the time."""


def example_images(batch: tuple[int, int], camera: tuple[int, int] | None, device: str = "cpu") -> Tensor:
    """Return images that tracing does not mistake for a special case: two where the batch may vary."""
    images = batch[0] if batch[0] == batch[1] else max(2, batch[0])
    return torch.randint(0, 256, (images, *(camera or (360, 480)), 3), dtype=torch.uint8, device=device)


def dynamic_shapes(batch: tuple[int, int], camera: tuple[int, int] | None) -> dict[str, dict[int, Dim]]:
    """Return the sides of `images` `(B, H, W, 3)` that stay open: B within `batch`, H and W without a camera."""
    sides = {} if batch[0] == batch[1] else {0: Dim("B", min=batch[0], max=batch[1])}
    if camera is None:
        sides |= {1: Dim("H", min=1, max=LARGEST_SIDE), 2: Dim("W", min=1, max=LARGEST_SIDE)}
    return {"images": sides}


def trace(graph: nn.Module, batch: tuple[int, int], camera: tuple[int, int] | None, device: str) -> ExportedProgram:
    """Return `graph` as PyTorch's exported program, on `device`."""
    with quiet(), torch.no_grad():
        example = example_images(batch, camera, device)
        return torch.export.export(graph.to(device), (example,), dynamic_shapes=dynamic_shapes(batch, camera))


def check_precision(program: ExportedProgram, precision: Precision) -> None:
    """Assert that every convolution and linear layer of a half-precision program computes in half precision.

    Raises:
        QueryDiffError: naming the first that does not.
    """
    wanted = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}[precision]
    for node in program.graph.nodes:
        if str(node.target) in WEIGHTED and node.meta["val"].dtype != wanted:
            raise QueryDiffError(
                f"The graph is not {precision} throughout: {node.name} computes in {node.meta['val'].dtype}."
            )
