"""Agent queries: the content of an image, aggregated from the backbone into r tokens (docs/method.md, section 1)."""

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from typing import Any, Literal

import torch
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError
from querydiff_core.models.attention import Attention, FeedForward, sine_position_embedding

SoftmaxOver = Literal["pixels", "queries", "competing"]
Residual = Literal["q_init", "layers", "none"]


class LayerQueries(nn.Module):
    """Aggregate one layer's pixels into r queries: A = softmax(f q_init^T), A^T f (Eq. 3, before the shared MLP).

    The arguments are those of `AgentQueries`.
    """

    def __init__(
        self,
        in_channels: int,
        channels: int,
        queries: int,
        softmax_over: SoftmaxOver = "pixels",
        scaled: bool = True,
        spread: float | None = None,
        positions: bool = False,
    ) -> None:
        super().__init__()
        self.softmax_over, self.positions = softmax_over, positions
        self.scale = channels**-0.5 if scaled else 1.0
        self.project = nn.Linear(in_channels, channels)
        # Backbones differ in the magnitude of their features; without a norm the softmax of some would saturate.
        self.norm = nn.LayerNorm(channels)
        self.q_init = nn.Parameter(torch.randn(queries, channels))
        self.spread = None if spread is None else nn.Parameter(torch.tensor(float(spread)))

    def forward(self, feature: Tensor) -> Tensor:
        """Return `(B, r, c)` from a feature map `(B, in_channels, h, w)`."""
        pixels = self._pixels(feature)
        return self._weights(pixels) @ pixels

    def attention(self, feature: Tensor) -> Tensor:
        """Return A^T of Eq. 3, `(B, r, hw)`: how much each query takes of each pixel."""
        return self._weights(self._pixels(feature))

    def _pixels(self, feature: Tensor) -> Tensor:
        pixels: Tensor = self.norm(self.project(feature.flatten(2).transpose(1, 2)))  # (B, hw, c)
        if not self.positions:
            return pixels
        places = sine_position_embedding(pixels.transpose(1, 2).unflatten(2, feature.shape[-2:]))  # (1, c, h, w)
        return pixels + places.flatten(2).transpose(1, 2)

    def _weights(self, pixels: Tensor) -> Tensor:
        scores = self.scale * (self.q_init @ pixels.transpose(1, 2))  # (B, r, hw)
        if self.spread is not None:
            centred = scores - scores.mean(2, keepdim=True)
            scores = self.spread * centred * (centred.square().mean(2, keepdim=True) + 1e-6).rsqrt()
        if self.softmax_over != "competing":
            return scores.softmax(2 if self.softmax_over == "pixels" else 1)
        claims = scores.softmax(1)
        return claims / (claims.sum(2, keepdim=True) + 1e-6)


class MergingStage(nn.Module):
    """Condense the queries of one stage into fewer groups by cross- and self-attention (Eqs. 4 and 5)."""

    def __init__(
        self, channels: int, queries: int, heads: int = 1, residual: Residual = "q_init", groups: int = 1
    ) -> None:
        super().__init__()
        self.residual, self.groups = residual, groups
        self.q_init = nn.Parameter(torch.randn(queries, channels))
        self.cross_attention, self.cross_ffn = Attention(channels, heads), FeedForward(channels)
        self.self_attention, self.self_ffn = Attention(channels, heads), FeedForward(channels)
        self.target_norm, self.source_norm, self.cross_ffn_norm, self.self_norm, self.self_ffn_norm = (
            nn.Identity() if residual == "none" else nn.LayerNorm(channels) for _ in range(5)
        )

    def forward(self, queries: Tensor) -> Tensor:
        """Return `(B, n_i r, c)` from the previous stage's `(B, n_(i-1) r, c)`."""
        start = self.q_init.expand(queries.shape[0], -1, -1)
        update = self.cross_attention(self.target_norm(start), self.source_norm(queries))
        merged = self._add(self._condensed(queries) if self.residual == "layers" else start, update)
        merged = self._add(merged, self.cross_ffn(self.cross_ffn_norm(merged)))
        normed = self.self_norm(merged)
        mixed = self._add(merged, self.self_attention(normed, normed))
        return self._add(mixed, self.self_ffn(self.self_ffn_norm(mixed)))

    def _condensed(self, queries: Tensor) -> Tensor:
        """Return each slot's mean over the groups that become one, `(B, n_i r, c)`."""
        each = queries.shape[1] * self.groups // self.q_init.shape[0]  # groups of the previous stage
        slots = queries.unflatten(1, (self.groups, each // self.groups, -1))  # (B, n_i, n_(i-1) / n_i, r, c)
        return (slots.sum(2) / slots.shape[2]).flatten(1, 2)

    def _add(self, before: Tensor, update: Tensor) -> Tensor:
        return update if self.residual == "none" else before + update


class Centre(nn.Module):
    """Subtract from each slot its running mean over images: what is the same in all of them carries no image."""

    def __init__(self, queries: int, channels: int, momentum: float) -> None:
        super().__init__()
        self.momentum = momentum
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(queries, channels))

    def forward(self, queries: Tensor) -> Tensor:
        """Return `(B, r, c)` without the mean, which training goes on measuring."""
        if self.training:
            self.mean.lerp_(queries.detach().mean(0).to(self.mean), self.momentum)
        return queries - self.mean


class QueryMerging(nn.Module):
    """Merge the queries of L layers into r agent queries (Eqs. 4 to 6).

    `layers` are the modules that give those queries; the other arguments are those of `AgentQueries`.
    """

    def __init__(
        self,
        layers: Iterable[nn.Module],
        channels: int,
        queries: int,
        *,
        groups: Sequence[int] | None = None,
        residual: Residual | bool = "q_init",
        heads: int = 1,
        norm: bool = False,
        centred: float | None = None,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        count = len(self.layers)
        self.groups = tuple(halving(count) if groups is None else groups)
        kind: Residual = ("q_init" if residual else "none") if isinstance(residual, bool) else residual
        if kind == "layers" and any(before % after for before, after in pairwise((count, *self.groups))):
            raise QueryDiffError(
                f"With residual: layers each number of groups must divide the one before: found {count} layers and "
                f"groups {', '.join(map(str, self.groups))}."
            )
        self.mlp = FeedForward(channels)
        self.stages = nn.ModuleList(MergingStage(channels, n * queries, heads, kind, n) for n in self.groups)
        self.project = nn.Linear(channels, channels)
        self.norm = nn.LayerNorm(channels) if norm else nn.Identity()
        self.centre = Centre(queries, channels, centred) if centred else nn.Identity()

    def merge(self, layers: Sequence[Tensor]) -> Tensor:
        """Return the agent queries `(B, r, c)` of what Eq. 3 gives of each layer, `(B, r, c)`."""
        queries = torch.cat([self.mlp(layer) for layer in layers], 1)  # (B, L r, c)
        for stage in self.stages:
            queries = stage(queries)  # (B, n_i r, c), Eqs. 4 and 5
        # Not mean(): of constants, as tokens are, ONNX's exporter would give it the name of the images' mean.
        pooled = self.norm(queries).unflatten(1, (self.groups[-1], -1)).sum(1) / self.groups[-1]
        return self.centre(self.project(pooled))  # (B, r, c), Eq. 6


class AgentQueries(QueryMerging):
    """Aggregate the feature maps of L layers into r agent queries (Eqs. 3 to 6 of QueryDiff, ICML 2025).

    Args:
        in_channels: channels of each of the L feature maps: the last L of those that it is given.
        channels: c.
        queries: r, the number of agent queries; the paper finds 100 best of 50 to 150.
        softmax_over: what Eq. 3's softmax normalises over. Over the `pixels` each query is a weighted mean of pixels
            whatever the image's size; over the `queries` it would be a sum that grows with the image. `competing`
            queries share each pixel out, as over the queries, and are weighted means all the same (slot attention,
            Locatello et al., NeurIPS 2020).
        scaled: whether Eq. 3 divides by sqrt(c), which keeps the softmax soft at the start for any c.
        spread: standard deviation over the pixels that each query's scores in Eq. 3 have at the start, one learned
            number a layer: at 2 a query reads some seventh of the pixels. None leaves scores as they
            are, which at the start spreads attention over nearly all pixels.
        positions: whether pixels carry their place in Eq. 3 (sines), so that queries can know where things are.
        merging: `groups`: n_1 > n_2 > ... >= 1, the groups of r queries each merging stage keeps. By default each
            stage halves the number of groups as long as it is even: 4 -> 2 -> 1 for four maps, 24 -> 12 -> 6 -> 3 for
            24 blocks. `residual`: what the stages add their attention to, with pre-LayerNorm: `q_init` (or true), whose
            size leaves little of the image; `layers`, each slot's mean over the queries that are merged; `none` (or
            false), the equations as printed. `heads`: attention heads of the stages; 1 is the equation as printed.
            `norm`: LayerNorm before Eq. 6. `centred`: momentum of each slot's running mean over images, which is then
            taken away, so that content comes from the image alone and identity from the decoder's position embedding.
    """

    def __init__(
        self,
        in_channels: Sequence[int],
        channels: int,
        queries: int = 100,
        *,
        softmax_over: SoftmaxOver = "pixels",
        scaled: bool = True,
        spread: float | None = None,
        positions: bool = False,
        **merging: Any,
    ) -> None:
        reading = (softmax_over, scaled, spread, positions)
        layers = (LayerQueries(n, channels, queries, *reading) for n in in_channels)
        super().__init__(layers, channels, queries, **merging)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return the agent queries `(B, r, c)` of the last L of the feature maps `(B, in_channels_l, h_l, w_l)`."""
        return self.merge([layer(feature) for layer, feature in self._read(features)])  # Eq. 3

    def attention(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Return A^T of Eq. 3 of each layer, `(B, r, h_l w_l)`."""
        return [layer.attention(feature) for layer, feature in self._read(features)]

    def _read(self, features: Sequence[Tensor]) -> Iterable[tuple[Any, Tensor]]:
        return zip(self.layers, features[len(features) - len(self.layers) :], strict=True)


class TokenQueries(QueryMerging):
    """Merge the token sets that steer a backbone's features into agent queries: the same for every image.

    So the authors have it: what teaches these queries teaches Rein's tokens (T_l is q_init^l), and those act on every
    pixel. It costs nothing at inference, as queries are constants.

    Args:
        token_sets: returns the L token sets T_l `(r, c_l)`; the backbone owns their weights.
        widths: c_l.
        channels: c.
        queries: r.
        merging: as for `AgentQueries`.
    """

    def __init__(
        self,
        token_sets: Callable[[], Sequence[Tensor]],
        widths: Sequence[int],
        channels: int,
        queries: int,
        **merging: Any,
    ) -> None:
        super().__init__((nn.Linear(width, channels) for width in widths), channels, queries, **merging)
        self._token_sets = token_sets

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return `(B, r, c)`, of the feature maps using the batch size only."""
        queries = self.merge(
            [layer(tokens)[None] for layer, tokens in zip(self.layers, self._token_sets(), strict=True)]
        )
        return queries.expand(features[0].shape[0], -1, -1)


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
