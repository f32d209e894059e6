"""Agent queries: the content of an image, aggregated from the backbone into r tokens (docs/method.md, section 1)."""

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from querydiff_core.models.attention import Attention, FeedForward

SoftmaxOver = Literal["pixels", "queries"]


class LayerQueries(nn.Module):
    """Aggregate one layer's pixels into r queries: A = softmax(f q_init^T), A^T f (Eq. 3, before the shared MLP)."""

    def __init__(
        self, in_channels: int, channels: int, queries: int, softmax_over: SoftmaxOver = "pixels", scaled: bool = True
    ) -> None:
        super().__init__()
        self.softmax_dim = {"pixels": 2, "queries": 1}[softmax_over]
        self.scale = channels**-0.5 if scaled else 1.0
        self.project = nn.Linear(in_channels, channels)
        # Backbones differ in the magnitude of their features; without a norm the softmax of some would saturate.
        self.norm = nn.LayerNorm(channels)
        self.q_init = nn.Parameter(torch.randn(queries, channels))

    def forward(self, feature: Tensor) -> Tensor:
        """Return `(B, r, c)` from a feature map `(B, in_channels, h, w)`."""
        pixels = self.norm(self.project(feature.flatten(2).transpose(1, 2)))  # (B, hw, c)
        scores = self.scale * (self.q_init @ pixels.transpose(1, 2))  # (B, r, hw)
        return scores.softmax(self.softmax_dim) @ pixels


class MergingStage(nn.Module):
    """Condense the queries of one stage into fewer groups by cross- and self-attention (Eqs. 4 and 5)."""

    def __init__(self, channels: int, queries: int, heads: int = 1, residual: bool = True) -> None:
        super().__init__()
        self.residual = residual
        self.q_init = nn.Parameter(torch.randn(queries, channels))
        self.cross_attention, self.cross_ffn = Attention(channels, heads), FeedForward(channels)
        self.self_attention, self.self_ffn = Attention(channels, heads), FeedForward(channels)
        self.target_norm, self.source_norm, self.cross_ffn_norm, self.self_norm, self.self_ffn_norm = (
            nn.LayerNorm(channels) if residual else nn.Identity() for _ in range(5)
        )

    def forward(self, queries: Tensor) -> Tensor:
        """Return `(B, n_i r, c)` from the previous stage's `(B, n_(i-1) r, c)`."""
        start = self.q_init.expand(queries.shape[0], -1, -1)
        merged = self._add(start, self.cross_attention(self.target_norm(start), self.source_norm(queries)))
        merged = self._add(merged, self.cross_ffn(self.cross_ffn_norm(merged)))
        normed = self.self_norm(merged)
        mixed = self._add(merged, self.self_attention(normed, normed))
        return self._add(mixed, self.self_ffn(self.self_ffn_norm(mixed)))

    def _add(self, before: Tensor, update: Tensor) -> Tensor:
        return before + update if self.residual else update


class AgentQueries(nn.Module):
    """Aggregate the feature maps of L layers into r agent queries (Eqs. 3 to 6 of QueryDiff, ICML 2025).

    Args:
        in_channels: channels of each of the L feature maps: the last L of those that it is given.
        channels: c.
        queries: r, the number of agent queries; the paper finds 100 best of 50 to 150.
        groups: n_1 > n_2 > ... >= 1, the groups of r queries each merging stage keeps. By default each stage halves
            the number of groups as long as it is even: 4 -> 2 -> 1 for four maps, 24 -> 12 -> 6 -> 3 for 24 blocks.
        softmax_over: what Eq. 3's softmax normalises over. Over the `pixels` each query is a weighted mean of pixels
            whatever the image's size; over the `queries` it would be a sum that grows with the image.
        scaled: whether Eq. 3 divides by sqrt(c), which keeps the softmax soft at the start for any c.
        residual: whether attention and feed-forward networks of the stages have residual connections and
            pre-LayerNorm, without which q_init reaches the next stage through attention weights alone.
        heads: attention heads of the stages; 1 is the equation as printed.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        queries: int = 100,
        *,
        groups: Sequence[int] | None = None,
        softmax_over: SoftmaxOver = "pixels",
        scaled: bool = True,
        residual: bool = True,
        heads: int = 1,
    ) -> None:
        super().__init__()
        self.groups = tuple(halving(len(in_channels)) if groups is None else groups)
        self.layers = nn.ModuleList(LayerQueries(n, channels, queries, softmax_over, scaled) for n in in_channels)
        self.mlp = FeedForward(channels)
        self.stages = nn.ModuleList(MergingStage(channels, n * queries, heads, residual) for n in self.groups)
        self.project = nn.Linear(channels, channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the agent queries `(B, r, c)` of the last L of the feature maps `(B, in_channels_l, h_l, w_l)`."""
        features = features[-len(self.layers) :]
        layers = [self.mlp(layer(feature)) for layer, feature in zip(self.layers, features, strict=True)]  # Eq. 3
        queries = torch.cat(layers, 1)  # (B, L r, c)
        for stage in self.stages:
            queries = stage(queries)  # (B, n_i r, c), Eqs. 4 and 5
        return self.project(queries.unflatten(1, (self.groups[-1], -1)).mean(1))  # (B, r, c), Eq. 6


class LearnedQueries(nn.Module):
    """Give every image the same r learned queries, as Mask2Former does: the baseline of agent queries."""

    def __init__(self, channels: int, queries: int = 100) -> None:
        super().__init__()
        self.q_init = nn.Parameter(torch.randn(queries, channels))

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return `(B, r, c)`, of the feature maps using the batch size only."""
        return self.q_init.expand(features[0].shape[0], -1, -1)


def halving(layers: int) -> list[int]:
    """Return the groups that halving leaves: 4 gives [2, 1], 24 gives [12, 6, 3], 5 gives [1]."""
    groups = []
    while layers % 2 == 0:
        layers //= 2
        groups.append(layers)
    return groups or [1]
