"""The learning-rate schedule of the paper's recipe: linear warm-up, then polynomial decay."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR


def polynomial_decay(optimizer: Optimizer, steps: int, warm_up: int = 0, power: float = 0.9) -> LambdaLR:
    """Return a schedule, stepped once a training step, from the full rate after `warm_up` steps to 0 at `steps`."""

    def factor(step: int) -> float:
        if step < warm_up:
            return (step + 1) / warm_up
        return max(0.0, 1.0 - (step - warm_up) / max(1, steps - warm_up)) ** power

    return LambdaLR(optimizer, factor)
