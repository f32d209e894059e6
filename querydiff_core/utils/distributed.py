"""Means and agreements over the processes that train together."""

from __future__ import annotations

import torch
from torch import Tensor, distributed


def mean_over_processes(value: Tensor) -> Tensor:
    """Return the mean of `value` over the processes that train together; the value itself where there is one."""
    if not (distributed.is_available() and distributed.is_initialized()):
        return value
    total = value.detach().clone()
    distributed.all_reduce(total)
    return total / distributed.get_world_size()


def all_processes(condition: Tensor) -> bool:
    """Return whether the boolean `condition` holds in every process that trains together."""
    return bool(mean_over_processes(condition.to(torch.float32)) == 1)
