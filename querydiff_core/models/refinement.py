"""Refinement: a feature map of the pixel decoder reads the agent queries (docs/method.md, section 4)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from querydiff_core.models.attention import Attention

DILATIONS = (1, 2, 3, 4)
"""Of the branches: one convolution each, of c / 4 channels."""


class Refinement(nn.Module):
    """Refine one feature map by what the agent queries know.

    The pixels attend to the agent queries, the result is concatenated with the map, fused by parallel 3 x 3
    depthwise-separable convolutions of different dilations and aligned by a 1 x 1 convolution.

    The separable convolutions apply their 1 x 1 factor first: the same parameters and receptive field, but the
    3 x 3 factors see c channels instead of 2c a branch, an eighth of the cost with four branches.

    Args:
        channels: c, a multiple of the number of branches.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.attention = Attention(channels)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)  # the 1 x 1 factors of all branches
        width = channels // len(DILATIONS)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width) for dilation in DILATIONS
        )
        self.align = nn.Sequential(nn.GroupNorm(1, channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))

    def forward(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Return the refined map `(B, c, h, w)` from `feature (B, c, h, w)` and the agent queries `(B, r, c)`."""
        fused = self._fuse(feature, queries).chunk(len(self.branches), 1)
        # Contiguous, as oneDNN's bf16 weight gradient of dilated depthwise convolutions in channels-last order reads
        # memory that nothing wrote, and now and then returns NaN (PyTorch 2.14 on CPUs).
        branches = [branch(part.contiguous()) for branch, part in zip(self.branches, fused, strict=True)]
        # Added to the map, so that training starts near the map itself.
        return feature + self.align(torch.cat(branches, 1))  # (B, c, h, w)

    def _fuse(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Return `fuse` of the map and what it reads: W_1 f + W_2 softmax(f W_Q (q W_K)^T / sqrt(c)) q W_V + b.

        Matrices are multiplied with the few queries instead of the many pixels, which leaves two products a pixel.
        """
        of_feature, of_read = self.fuse.weight.chunk(2, 1)  # (c, c, 1, 1) each
        keys = self.attention.key(queries) @ self.attention.query.weight * queries.shape[2] ** -0.5  # (B, r, c)
        values = of_read[..., 0, 0] @ self.attention.value(queries).transpose(1, 2)  # (B, c, r)
        weights = (feature.flatten(2).transpose(1, 2) @ keys.transpose(1, 2)).softmax(2)  # (B, hw, r)
        read = (values @ weights.transpose(1, 2)).unflatten(2, feature.shape[-2:])  # (B, c, h, w)
        return conv2d(feature, of_feature, self.fuse.bias) + read


class IdentityRefinement(nn.Module):
    """Leave a feature map as it is: the baseline of refinement, as in Mask2Former."""

    def forward(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Return `feature`."""
        return feature
