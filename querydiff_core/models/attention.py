"""Scaled dot-product attention from one set of tokens to another."""

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
