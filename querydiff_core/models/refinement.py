"""Refinement: a feature map of the pixel decoder reads the agent queries (docs/method.md, section 4)."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from querydiff_core.models.attention import Attention


class Refinement(nn.Module):
    """Refine one feature map by what the agent queries know.

    The pixels attend to the agent queries, the result is concatenated with the map, fused by parallel 3 x 3
    depthwise-separable convolutions of different dilations and aligned by a 1 x 1 convolution.

    The separable convolutions apply their 1 x 1 factor first: the same parameters and receptive field, but the
    3 x 3 factors see c channels instead of 2c a branch, an eighth of the cost with four branches.

    Args:
        channels: c, a multiple of the number of branches.
        heads: attention heads.
        dilations: one parallel convolution each, of c / branches channels.
        residual: whether the result is added to the map, so that training starts near the map itself.
    """

    def __init__(
        self, channels: int, heads: int = 1, dilations: Sequence[int] = (1, 2, 3, 4), residual: bool = True
    ) -> None:
        super().__init__()
        self.residual = residual
        self.attention = Attention(channels, heads)
        self.fuse = nn.Conv2d(2 * channels, channels, 1)  # the 1 x 1 factors of all branches
        width = channels // len(dilations)
        self.branches = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=dilation, dilation=dilation, groups=width) for dilation in dilations
        )
        self.align = nn.Sequential(nn.GroupNorm(1, channels), nn.ReLU(), nn.Conv2d(channels, channels, 1))

    def forward(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Return the refined map `(B, c, h, w)` from `feature (B, c, h, w)` and the agent queries `(B, r, c)`."""
        attended = self.attention(feature.flatten(2).transpose(1, 2), queries)  # (B, hw, c)
        attended = attended.transpose(1, 2).unflatten(2, feature.shape[-2:])  # (B, c, h, w)
        fused = self.fuse(torch.cat((feature, attended), 1)).chunk(len(self.branches), 1)
        # Contiguous, as oneDNN's bf16 weight gradient of dilated depthwise convolutions in channels-last order reads
        # memory that nothing wrote, and now and then returns NaN (PyTorch 2.14 on CPUs).
        branches = [branch(part.contiguous()) for branch, part in zip(self.branches, fused, strict=True)]
        refined = self.align(torch.cat(branches, 1))  # (B, c, h, w)
        return feature + refined if self.residual else refined


class Unrefined(nn.Module):
    """Leave a feature map as it is: the baseline of refinement, as in Mask2Former."""

    def forward(self, feature: Tensor, queries: Tensor) -> Tensor:
        """Return `feature`."""
        return feature
