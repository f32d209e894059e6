"""The loss by which diffusion features teach the agent queries (docs/method.md, section 3)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.functional import kl_div, layer_norm, smooth_l1_loss

from querydiff_core.teacher.frozen_teacher import TeacherFeatures

Pooling = Literal["mean", "sum"]


class ConsistencyLoss(nn.Module):
    """Let the agent queries rebuild strongly noised features from what they attend to in weakly noised ones.

    Noise takes appearance before layout, so queries that can do this hold layout: Eqs. 8 to 12 of QueryDiff.

    Args:
        channels: c of the agent queries.
        feature_channels: c_j of each diffusion feature (`FrozenTeacher.channels`).
        supervision_weight: of L_sup (Eq. 11) in L_diff; 0 skips the term.
        distribution_weight: of L_dist (Eq. 9) in L_diff; 0 skips the term.
        scaled: whether Eq. 8 divides by sqrt(c_j), which keeps the softmax soft at the start for any c_j. At Stable
            Diffusion's 640 and 1280 channels it still gets sharp; with 64 or fewer it can stay so soft that all
            queries become alike (docs/teacher.md).
        pooling: how Eq. 10 weighs pixels. The `mean` (weights that sum to 1 over pixels) gives targets in the range of
            the features; the `sum` (Eq. 10 without `normalise`) would grow with the image.
        similarity_spread: standard deviation over the queries that each cell's scores in Eq. 8 are given: at 2 a cell
            attends to some seventh of the queries, whatever c_j. None leaves them to `scaled`.
        summed_pixels: whether L_dist sums over pixels, as Eq. 9 is printed, instead of their mean: h_j w_j times as
            large, and so is its share of the gradient.
        supervise_queries: whether L_sup acts on the agent queries themselves, as the authors have it, instead of g,
            which Linear_j can fit alone. As c and c_j differ, targets pass a fixed random orthonormal map. Without
            L_dist Linear_j then stays as it was drawn.
    """

    def __init__(
        self,
        channels: int,
        feature_channels: Sequence[int],
        *,
        supervision_weight: float = 1.0,
        distribution_weight: float = 1.0,
        scaled: bool = True,
        pooling: Pooling = "mean",
        similarity_spread: float | None = None,
        summed_pixels: bool = False,
        supervise_queries: bool = False,
    ) -> None:
        super().__init__()
        self.similarity_spread, self.summed_pixels = similarity_spread, summed_pixels
        self.supervision_weight, self.distribution_weight = supervision_weight, distribution_weight
        self.scaled, self.pooling = scaled, pooling
        self.linears = nn.ModuleList(_linear(channels, c_j) for c_j in feature_channels)
        self.supervise_queries = supervise_queries
        if supervise_queries and not distribution_weight:  # nothing teaches Linear_j, and DDP waits for every gradient
            self.linears.requires_grad_(False)
        for j, c_j in enumerate(feature_channels if supervise_queries else ()):
            self.register_buffer(f"to_queries_{j}", _orthonormal(c_j, channels), persistent=False)

    def forward(self, agent_queries: Tensor, features: TeacherFeatures) -> dict[str, Tensor]:
        """Return `sup`, `dist` and `loss`, their weighted sum; all float32 scalars.

        Args:
            agent_queries: `(B, r, c)`.
            features: of the teacher, for the same images.
        """
        sup = dist = agent_queries.new_zeros((), dtype=features.weak[0].dtype)
        with torch.autocast(agent_queries.device.type, enabled=False):  # bf16 is too coarse for log-probabilities
            each = zip(*self._attend(agent_queries, features), features.strong, strict=True)
            for j, (g, s, strong) in enumerate(each):
                if self.distribution_weight:
                    pixels = strong.shape[1] if self.summed_pixels else 1
                    dist = dist + pixels * divergence(strong, s @ g)  # f_hat = S g, Eq. 9
                if self.supervision_weight:
                    q_opt = self._pool(s, strong).detach()  # Eq. 10
                    sup = sup + self._supervision(j, agent_queries, g, q_opt)  # Eq. 11
        return {
            "sup": sup,
            "dist": dist,
            "loss": self.supervision_weight * sup + self.distribution_weight * dist,  # Eq. 12
        }

    def similarity(self, agent_queries: Tensor, features: TeacherFeatures) -> list[Tensor]:
        """Return S_j `(B, h_j w_j, r)`: how much each cell of feature j attends to each query, 1 in sum."""
        with torch.autocast(agent_queries.device.type, enabled=False):
            return self._attend(agent_queries, features)[1]

    def _attend(self, agent_queries: Tensor, features: TeacherFeatures) -> tuple[list[Tensor], list[Tensor]]:
        """Return g `(B, r, c_j)` and S `(B, h_j w_j, r)` of each feature."""
        queries = agent_queries.to(next(self.parameters()).dtype)
        gs = [linear(queries).to(weak) for linear, weak in zip(self.linears, features.weak, strict=True)]
        return gs, [self._similarity(weak, g) for weak, g in zip(features.weak, gs, strict=True)]

    def _similarity(self, weak: Tensor, g: Tensor) -> Tensor:
        scale = g.shape[-1] ** -0.5 if self.scaled else 1.0
        scores = scale * weak @ g.transpose(1, 2)  # (B, h_j w_j, r)
        if self.similarity_spread is not None:
            scores = self.similarity_spread * layer_norm(scores, scores.shape[-1:])
        return scores.softmax(-1)  # Eq. 8

    def _supervision(self, j: int, agent_queries: Tensor, g: Tensor, q_opt: Tensor) -> Tensor:
        if not self.supervise_queries:
            return smooth_l1_loss(g, q_opt)
        q_opt = q_opt @ self.get_buffer(f"to_queries_{j}").to(q_opt)  # (B, r, c)
        return smooth_l1_loss(agent_queries.to(q_opt), q_opt)

    def _pool(self, s: Tensor, strong: Tensor) -> Tensor:
        if self.pooling == "mean":
            s = s / s.sum(1, keepdim=True).clamp_min(torch.finfo(s.dtype).tiny)  # no cell may attend to a query
        return s.transpose(1, 2) @ strong  # (B, r, c_j)


def divergence(target: Tensor, estimate: Tensor) -> Tensor:
    """Return KL(p(target) || p(estimate)) in nats, p = softmax over channels, mean over pixels (Eq. 9).

    Args:
        target: `(B, h w, c)`.
        estimate: the same shape.
    """
    p, p_hat = (x.log_softmax(-1).flatten(0, 1) for x in (target, estimate))
    return kl_div(p_hat, p, reduction="batchmean", log_target=True)


def _linear(channels: int, c_j: int) -> nn.Sequential:
    # Hidden channels are c_j, the wider side for Stable Diffusion. The norm comes after the first layer, as the outputs
    # must be free in size: means of features are shorter than features are.
    return nn.Sequential(nn.Linear(channels, c_j), nn.LayerNorm(c_j), nn.GELU(), nn.Linear(c_j, c_j))


def _orthonormal(rows: int, columns: int) -> Tensor:
    """Return a fixed map `(rows, columns)` that keeps the variance of a channel, the same in every run."""
    drawn = torch.randn(max(rows, columns), min(rows, columns), generator=torch.Generator().manual_seed(rows + columns))
    basis = torch.linalg.qr(drawn).Q  # orthonormal columns
    return (basis if rows >= columns else basis.T) * max(1.0, columns / rows) ** 0.5
