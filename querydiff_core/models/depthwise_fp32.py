"""Depthwise convolutions in fp32 within bf16 training on CPUs, whose backward pass oneDNN runs slowly in bf16."""

from types import MethodType

import torch
from torch import Tensor, nn


def keep_depthwise_in_fp32(model: nn.Module) -> None:
    """Let depthwise convolutions of `model` compute in fp32 whatever autocast asks for, and return their input's type.

    On CPUs with bf16 instructions their backward pass takes a fifth to an eighth of the time that it takes in bf16
    (docs/benchmarks.md), and they hold a few per cent of the multiplications.
    """
    for module in model.modules():
        if isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1:
            module.forward = MethodType(_in_fp32, module)  # type: ignore[method-assign]  # a method, so that copies work


def _in_fp32(convolution: nn.Conv2d, images: Tensor) -> Tensor:
    with torch.autocast("cpu", enabled=False):
        result: Tensor = type(convolution).forward(convolution, images.float())
    return result.to(images.dtype)
