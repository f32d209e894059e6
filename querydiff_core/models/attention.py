"""Scaled dot-product attention from one set of tokens to another, and where a token of a map is."""

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention


class Attention(nn.Module):
    """Attend from `targets` to `sources`: softmax(Q K^T / sqrt(d)) V with Q = targets W_Q, K, V = sources W_K, W_V.

    There is no output projection: whatever reads the result (a feed-forward network, a convolution) mixes channels.
    """

    def __init__(self, channels: int, heads: int = 1) -> None:
        super().__init__()
        self.heads = heads
        self.query = nn.Linear(channels, channels, bias=False)
        self.key = nn.Linear(channels, channels, bias=False)
        self.value = nn.Linear(channels, channels, bias=False)

    def forward(self, targets: Tensor, sources: Tensor) -> Tensor:
        """Return `(B, n, c)` from `targets (B, n, c)` and `sources (B, m, c)`."""
        query, key, value = map(self._split, (self.query(targets), self.key(sources), self.value(sources)))
        attended = scaled_dot_product_attention(query, key, value)  # (B, heads, n, c / heads)
        return attended.transpose(1, 2).flatten(2)  # (B, n, c)

    def _split(self, tokens: Tensor) -> Tensor:
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)  # (B, heads, n, c / heads)


class FeedForward(nn.Sequential):
    """Two linear layers with a GELU between them, from c channels to c channels."""

    def __init__(self, channels: int, expansion: int = 2) -> None:
        super().__init__(
            nn.Linear(channels, channels * expansion), nn.GELU(), nn.Linear(channels * expansion, channels)
        )


def sine_position_embedding(feature: Tensor, temperature: float = 10_000.0) -> Tensor:
    """Return the sines and cosines of a map's rows and columns, `(1, c, h, w)` for `(B, c, h, w)` (DETR's encoding).

    Half of the channels encode the row and half the column, both scaled to (0, 2 pi] whatever the size.
    """
    half = feature.shape[1] // 2
    exponents = torch.arange(0, half, 2, device=feature.device, dtype=torch.float32) / half
    rows, columns = (_waves(n, temperature**exponents) for n in feature.shape[-2:])  # (h, half), (w, half)
    rows, columns = rows.T[:, :, None], columns.T[:, None]
    both = torch.cat((rows.expand(-1, -1, columns.shape[2]), columns.expand(-1, rows.shape[1], -1)))
    return both[None].to(feature.dtype)


def _waves(length: int, wavelengths: Tensor) -> Tensor:
    steps = torch.arange(1, length + 1, device=wavelengths.device, dtype=torch.float32) / length
    angles = 2 * torch.pi * steps[:, None] / wavelengths
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
