"""Pyramid decoder: a pixel decoder made for CPUs, of few and large operators (docs/method.md, section 4)."""

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn.functional import interpolate

from querydiff_core.models.attention import Attention, sine_position_embedding
from querydiff_core.models.pixel_decoder import Refine


class PyramidDecoder(nn.Module):
    """Turn a backbone's four maps into a mask feature at 1/4 scale and three maps at 1/32, 1/16 and 1/8.

    Pixels attend to each other at 1/32 alone, where there are few of them; from there a feature pyramid carries the
    context down through depthwise-separable convolutions, whose BatchNorm folds into them (the hybrid encoder of
    RT-DETR, Zhao et al., CVPR 2024, section 4.2, is the model). Each map is refined before it is carried on, and the
    mask feature is made of the refined map at 1/8: refinement itself never runs at 1/4 scale, where most pixels are.

    Args:
        in_channels: channels of the backbone's maps, at strides 4, 8, 16, 32.
        channels: c.
        heads: attention heads at 1/32; they divide c.
    """

    refinements_of_mask_feature = 3  # all: each map is made of the refined one before

    def __init__(self, in_channels: Sequence[int], channels: int, heads: int) -> None:
        super().__init__()
        finest, *others = in_channels
        self.laterals = nn.ModuleList(convolution(n, channels, 1) for n in reversed(others))
        self.attention, self.norm = Attention(channels, heads), nn.LayerNorm(channels)
        self.project = nn.Linear(channels, channels)
        self.merges = nn.ModuleList(separable_convolution(channels) for _ in others[1:])
        self.lateral = convolution(finest, channels, 1)
        self.mask_merge = separable_convolution(channels)
        self.mask_projection = nn.Conv2d(channels, channels, 1)

    def forward(
        self, features: Sequence[Tensor], queries: Tensor, refinements: Sequence[Refine]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the mask feature `(B, c, H/4, W/4)` and the refined maps `(B, c, h, w)` at 1/32, 1/16 and 1/8 scale.

        Args:
            features: the backbone's maps.
            queries: agent queries `(B, r, c)`.
            refinements: of the three maps, coarse to fine.
        """
        finest, *others = features
        coarse, *laterals = [lateral(f) for lateral, f in zip(self.laterals, reversed(others), strict=True)]
        first, *following = refinements
        maps = [first(self._mix(coarse), queries)]
        for merge, lateral, refine in zip(self.merges, laterals, following, strict=True):
            maps.append(refine(merge(enlarged(maps[-1], lateral) + lateral), queries))
        lateral = self.lateral(finest)
        return self.mask_projection(self.mask_merge(enlarged(maps[-1], lateral) + lateral)), maps

    def mask_feature(self, features: Sequence[Tensor], queries: Tensor, refinements: Sequence[Refine]) -> Tensor:
        """Return the mask feature alone, which is made of the refined maps; the arguments are `forward`'s."""
        return self(features, queries, refinements)[0]

    def _mix(self, coarse: Tensor) -> Tensor:
        """Return the map at 1/32 after its pixels have attended to each other."""
        tokens = coarse.flatten(2).transpose(1, 2)  # (B, n, c)
        normed = self.norm(tokens) + sine_position_embedding(coarse).flatten(2).transpose(1, 2)
        seen = self.project(self.attention(normed, normed))
        return (tokens + seen).transpose(1, 2).unflatten(2, coarse.shape[-2:])


def convolution(in_channels: int, channels: int, size: int) -> nn.Sequential:
    """Return a convolution and its BatchNorm."""
    return nn.Sequential(
        nn.Conv2d(in_channels, channels, size, padding=size // 2, bias=False), nn.BatchNorm2d(channels)
    )


def separable_convolution(channels: int) -> nn.Sequential:
    """Return a 3 x 3 depthwise and a 1 x 1 convolution, each with its BatchNorm and ReLU."""
    depthwise = nn.Conv2d(channels, channels, 3, padding=1, groups=channels, bias=False)
    pointwise = nn.Conv2d(channels, channels, 1, bias=False)
    parts = [[conv, nn.BatchNorm2d(channels), nn.ReLU(inplace=True)] for conv in (depthwise, pointwise)]
    return nn.Sequential(*(module for part in parts for module in part))


def enlarged(maps: Tensor, like: Tensor) -> Tensor:
    """Return `maps` at the size of `like`."""
    return interpolate(maps, like.shape[-2:], mode="bilinear", align_corners=False)
