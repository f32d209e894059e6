"""The moving average of a student's weights, which holds better in domains that it never saw than the last weights."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from querydiff_core.errors import QueryDiffError
from querydiff_core.models.querydiff import QueryDiff

TRAINED, AVERAGED = "model.", "averaged.module."
"""What the names of a student's weights begin with in a training state."""


def student_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the student in a training state: their moving average where there is one."""
    prefix = AVERAGED if any(name.startswith(AVERAGED) for name in state) else TRAINED
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}


class MovingAverage(AveragedModel):
    """The exponential moving average of the weights of `model`, which begins with the weights after the first step.

    Args:
        model: the student.
        decay: what one step keeps of the average, above 0 and below 1; it spans some 1 / (1 - decay) steps.

    Raises:
        QueryDiffError: if the decay is out of its range.
    """

    module: QueryDiff

    def __init__(self, model: QueryDiff, decay: float) -> None:
        if not 0 < decay < 1:
            raise QueryDiffError(f"average is above 0 and below 1, or null for the last weights; found {decay}.")
        super().__init__(model, multi_avg_fn=get_ema_multi_avg_fn(decay))
        self.requires_grad_(False)
