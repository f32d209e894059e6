"""Which device PyTorch computes on."""

from __future__ import annotations

import torch

from querydiff_core.errors import QueryDiffError


def torch_device(name: str) -> str:
    """Return "cpu" or "cuda:N" for "auto", "cpu" or "cuda[:N]".

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
