"""Run a student in half precision between inputs and outputs of full precision."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from querydiff_core.inference.build_target import Precision
from querydiff_core.models.querydiff import QueryDiff, QueryDiffOutput

_TYPES: Mapping[Precision, torch.dtype] = {"fp16": torch.float16, "bf16": torch.bfloat16}


class HalfPrecision(nn.Module):
    """Cast a student and its images; its masks and classes come back as float32, so that sums over queries are exact.

    Compilers receive the cast network rather than an option for half precision, which they may silently ignore.
    """

    def __init__(self, model: QueryDiff, precision: Precision) -> None:
        super().__init__()
        self.dtype = _TYPES[precision]
        self.model = model.to(self.dtype)
        self.mean, self.std = model.mean, model.std

    def forward(self, images: Tensor) -> QueryDiffOutput:
        """Segment normalised images `(B, 3, H, W)`."""
        output = self.model(images.to(self.dtype))
        masks, classes = ([tensor.float() for tensor in tensors] for tensors in (output.masks, output.classes))
        return output._replace(masks=masks, classes=classes)


def in_precision(model: QueryDiff, precision: Precision) -> QueryDiff | HalfPrecision:
    """Return `model` such that its network computes in `precision`."""
    return model if precision == "fp32" else HalfPrecision(model, precision)
