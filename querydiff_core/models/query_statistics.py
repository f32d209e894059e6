"""Whether agent queries carry the image: their variance between images, and how far attention spreads."""

import torch
from torch import Tensor


class BetweenImages:
    """The share of the variance of agent queries that lies between images: 0 for constants.

    Sums of float64 over images stay, the queries do not.
    """

    def __init__(self) -> None:
        self._images = 0
        self._sum: Tensor | float = 0.0  # (r, c)
        self._squares: Tensor | float = 0.0

    def update(self, queries: Tensor) -> None:
        """Add the agent queries `(B, r, c)` of B images."""
        queries = queries.detach().cpu().double()
        self._images += len(queries)
        self._sum = self._sum + queries.sum(0)
        self._squares = self._squares + queries.square().sum(0)

    @property
    def mean(self) -> Tensor:
        """Return each slot's mean over images `(r, c)`."""
        return torch.as_tensor(self._sum) / self._images

    def share(self) -> float:
        """Return the mean squared distance to a slot's own mean over images, as a share of that to the mean of all."""
        mean, squares = self.mean, torch.as_tensor(self._squares) / self._images
        between = max(0.0, float((squares - mean.square()).sum()))
        total = float((squares - mean.mean(0).square()).sum())
        return between / total if total > 0 else 0.0


def perplexity_share(attention: Tensor) -> float:
    """Return over which share of its last dimension attention spreads: the mean of exp(entropy), over n.

    Args:
        attention: `(..., n)`, 1 in sum over n.

    Returns:
        1 / n where each row attends to one, 1 where all are alike.
    """
    attention = attention.detach().double()
    entropy = torch.special.entr(attention).sum(-1)
    return float(entropy.exp().mean() / attention.shape[-1])
