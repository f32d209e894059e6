"""How much of the student's gradient comes from the teacher, and alpha by the share that it should have."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.distributed import mean_over_processes

LARGEST_ALPHA = 1e4
"""Beyond it L_diff would be all that the log shows, and its noise all that the queries learn."""


class TeachingGradient(nn.Module):
    """Measure the gradient of alpha L_diff beside that of L_seg, at the agent queries and in the backbone.

    Args:
        alpha: weight of L_diff in L_total (Eq. 14).
        share: what the gradient of alpha L_diff at the agent queries should be of L_seg's: alpha then follows the
            measurements, half of the way (on a logarithmic scale) each time. None keeps alpha.
    """

    log_alpha: Tensor

    def __init__(self, alpha: float, share: float | None = None) -> None:
        super().__init__()
        if share is not None and share <= 0:
            raise QueryDiffError(f"gradient_share must be above 0, found {share}.")
        self.constant, self.share = alpha, share
        if share is not None:  # in the training state, so that a resumed run goes on with it; NaN before the first
            self.register_buffer("log_alpha", torch.tensor(math.nan, dtype=torch.float64))

    @property
    def alpha(self) -> float:
        """Return the weight of L_diff."""
        if self.share is None or bool(self.log_alpha.isnan()):
            return self.constant
        return math.exp(float(self.log_alpha))

    def measure(self, l_seg: Tensor, l_diff: Tensor, queries: Tensor, backbone: Sequence[Tensor]) -> dict[str, Tensor]:
        """Return `queries` and `backbone`, the norm of alpha L_diff's gradient there over L_seg's, and `alpha`.

        The graph is kept for the backward pass. Averages over processes that train together.

        Args:
            l_seg: L_seg.
            l_diff: L_diff, without alpha.
            queries: the agent queries that both are made of.
            backbone: its trained parameters; none leaves `backbone` out.

        Raises:
            QueryDiffError: if the share that was asked for would take an alpha above `LARGEST_ALPHA`.
        """
        trained = [queries, *backbone]
        norms = mean_over_processes(torch.stack([_norms(l_seg, trained), _norms(l_diff, trained)]))  # (2, 2)
        ratio = norms[1] / norms[0].clamp_min(1e-30)
        self._follow(float(ratio[0]))
        shares = {"alpha": ratio.new_tensor(self.alpha), "queries": self.alpha * ratio[0]}
        return shares | ({"backbone": self.alpha * ratio[1]} if backbone else {})

    def _follow(self, ratio: float) -> None:
        if self.share is None:
            return
        wanted = self.share / max(ratio, 1e-30)
        if wanted > LARGEST_ALPHA:
            raise QueryDiffError(
                f"A share of {self.share:.0%} of L_seg's gradient at the agent queries would take alpha {wanted:.3g}, "
                f"above {LARGEST_ALPHA:.0f}: L_diff hardly reaches them; ask for less (model.gradient_share), or let "
                "it reach them (model.teacher.summed_pixels, similarity_spread)."
            )
        before = math.log(wanted) if bool(self.log_alpha.isnan()) else float(self.log_alpha)
        self.log_alpha.fill_((before + math.log(wanted)) / 2)


def _norms(loss: Tensor, trained: Sequence[Tensor]) -> Tensor:
    """Return the norms of a loss's gradient at the first tensor and at all others together, float64 `(2,)`."""
    gradients = torch.autograd.grad(loss, trained, retain_graph=True, allow_unused=True)
    squares = [gradient.double().square().sum() if gradient is not None else None for gradient in gradients]
    zero = loss.detach().double() * 0
    others = sum((square for square in squares[1:] if square is not None), zero)
    return torch.stack([zero if squares[0] is None else squares[0], others]).sqrt()
