"""Rein: low-rank tokens refine a frozen ViT's features after every block.

Written from the equations of Wei et al., "Stronger, Fewer, & Superior: Harnessing Vision Foundation Models for Domain
Generalized Semantic Segmentation", CVPR 2024.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class Rein(nn.Module):
    """Refine the features f_i of N blocks by learnable tokens T_i; at the start it changes nothing.

        T_i = A_i B_i                                   (m, c) of rank r
        S_i = softmax(f_i T_i^T / sqrt(c))              (n, m), over the tokens
        D_i = S_i(:, 2:m) (T_i(2:m) W_T + b_T)          (n, c)
        refined = f_i + (D_i + f_i) W_f + b_f

    Token 1 of m takes the weight of features that match no other.

    Args:
        layers: N, the blocks.
        channels: c, of the ViT.
        tokens: m.
        rank: r, of the tokens.
        shared: whether all blocks share W_T, b_T, W_f and b_f, as in the paper.

    Attributes:
        steered: False leaves D_i out, to measure what the tokens do.
    """

    def __init__(self, layers: int, channels: int, tokens: int = 100, rank: int = 16, shared: bool = True) -> None:
        super().__init__()
        self.layers, self.channels, self.shared = layers, channels, shared
        self.steered = True
        # The entries of T then have unit variance.
        self.a = nn.Parameter(torch.randn(layers, tokens, rank) / rank**0.5)
        self.b = nn.Parameter(torch.randn(layers, rank, channels))
        self.token_maps = linear_maps(layers, channels, channels, shared)
        self.feature_maps = linear_maps(layers, channels, channels, shared)
        # The frozen network's own features are the start; the tokens learn as soon as W_f has left 0.
        for parameter in self.feature_maps.parameters():
            nn.init.zeros_(parameter)

    def tokens(self, layer: int) -> Tensor:
        """Return T_i `(m, c)`."""
        return self.a[layer] @ self.b[layer]

    def forward(self, features: Tensor, layer: int) -> Tensor:
        """Return the refined `features` `(..., c)` of block `layer`, counted from 0."""
        # A shared map is the only one.
        feature_map = self.feature_maps[layer % len(self.feature_maps)]
        if not self.steered:
            return features + feature_map(features)
        tokens = self.tokens(layer)
        similarity = (features @ tokens.T * self.channels**-0.5).softmax(-1)  # (..., m)
        token_map = self.token_maps[layer % len(self.token_maps)]
        delta = similarity[..., 1:] @ token_map(tokens[1:])  # (..., c)
        return features + feature_map(delta + features)


class ReinBlock(nn.Module):
    """A frozen block followed by Rein's refinement of its patches; class and register tokens stay as they are.

    Args:
        block: tokens `(B, prefix + n, c)`, or SAM's `(B, h, w, c)`, to the same.
        rein: of all blocks. The backbone owns its weights.
        layer: number of this block.
        prefix: tokens before the patches.
    """

    def __init__(self, block: nn.Module, rein: Rein, layer: int, prefix: int) -> None:
        super().__init__()
        self.block = block
        self._rein = (rein,)  # PyTorch does not look into tuples: no block saves what all of them share
        self.layer, self.prefix = layer, prefix

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the block's tokens, the patches refined."""
        tokens = self.block(tokens)
        (rein,) = self._rein
        refined = rein(tokens[:, self.prefix :], self.layer)
        return torch.cat([tokens[:, : self.prefix], refined], 1) if self.prefix else refined


class ReinQueries(nn.Module):
    """Link Rein's tokens to the object queries, the same m for every image: Rein's own, without agent queries.

        Q_i = T_i W_Q + b_Q                             (m, c')
        Q = Linear(concat(max_i Q_i, mean_i Q_i, Q_N))  (m, c')

    Args:
        rein: whose tokens they are. The backbone owns its weights.
        channels: c', of the mask decoder.
    """

    def __init__(self, rein: Rein, channels: int) -> None:
        super().__init__()
        self._rein = (rein,)  # hidden as in `ReinBlock`
        self.query_maps = linear_maps(rein.layers, rein.channels, channels, rein.shared)
        self.merge = nn.Linear(3 * channels, channels)

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Return `(B, m, c')`, of the feature maps using the batch size only."""
        (rein,) = self._rein
        each = [self.query_maps[i % len(self.query_maps)](rein.tokens(i)) for i in range(rein.layers)]
        queries = torch.stack(each)  # (N, m, c')
        # Not mean(): ONNX's exporter folds it to a constant of that name, which is taken by the images' mean.
        average = queries.sum(0) / rein.layers
        merged = self.merge(torch.cat([queries.amax(0), average, queries[-1]], -1))
        return merged.expand(features[0].shape[0], -1, -1)


def linear_maps(layers: int, channels: int, out_channels: int, shared: bool) -> nn.ModuleList:
    """Return one linear map for all layers, or one for each."""
    return nn.ModuleList(nn.Linear(channels, out_channels) for _ in range(1 if shared else layers))
