"""Pixel decoder: multi-scale deformable attention and a feature pyramid, around Mask2Former's layers."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import grid_sample, interpolate, linear, relu
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderLayer,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
)

from querydiff_core.models.attention import sine_position_embedding

Sizes = Sequence[tuple[int, int]]
Refine = Callable[[Tensor, Tensor], Tensor]
"""Refines a map `(B, c, h, w)` by the agent queries `(B, r, c)`."""


class PixelDecoder(nn.Module):
    """Turn a backbone's four maps into a mask feature at 1/4 scale and three maps at 1/32, 1/16 and 1/8.

    The layers are Mask2Former's of transformers; the way through them is not: images have no padding to mask, and maps
    keep their channels first wherever the next step reads them so, which exporters do not find out by themselves.

    Args:
        in_channels: channels of the backbone's maps, at strides 4, 8, 16, 32.
        channels: c, a multiple of 32.
        layers: layers of multi-scale deformable attention.
        heads: attention heads.
        feedforward: hidden channels of each layer's feed-forward network.
    """

    refinements_of_mask_feature = 1  # the first is the mask feature's own

    def __init__(self, in_channels: Sequence[int], channels: int, layers: int, heads: int, feedforward: int) -> None:
        super().__init__()
        config = Mask2FormerConfig(
            feature_size=channels,
            mask_feature_size=channels,
            hidden_dim=channels,
            encoder_layers=layers,
            num_attention_heads=heads,
            encoder_feedforward_dim=feedforward,
        )
        self.decoder: Any = Mask2FormerPixelDecoder(config, list(in_channels))
        # The constructor leaves it as raw memory, on the CPU whatever the device.
        self.decoder.level_embed = nn.Parameter(torch.randn(self.decoder.level_embed.shape))
        for module in self.decoder.modules():
            if isinstance(module, Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
                initialise_deformable_attention(module)

    def forward(
        self, features: Sequence[Tensor], queries: Tensor, refinements: Sequence[Refine]
    ) -> tuple[Tensor, list[Tensor]]:
        """Return the mask feature `(B, c, H/4, W/4)` and maps `(B, c, h, w)` at 1/32, 1/16 and 1/8 scale, all refined.

        Args:
            features: the backbone's maps.
            queries: agent queries `(B, r, c)`.
            refinements: of the mask feature and of the three maps, coarse to fine.
        """
        maps = self._maps(features)
        refined = [refine(each, queries) for refine, each in zip(refinements[1:], maps, strict=True)]
        return refinements[0](self._mask_feature(features[0], maps[-1]), queries), refined

    def mask_feature(self, features: Sequence[Tensor], queries: Tensor, refinements: Sequence[Refine]) -> Tensor:
        """Return the refined mask feature alone; the arguments are `forward`'s."""
        return refinements[0](self._mask_feature(features[0], self._maps(features)[-1]), queries)

    def _maps(self, features: Sequence[Tensor]) -> list[Tensor]:
        projections = zip(self.decoder.input_projections, reversed(features[1:]), strict=True)
        return self._mix_scales([project(feature) for project, feature in projections])

    def _mask_feature(self, finest: Tensor, fine: Tensor) -> Tensor:
        lateral = self.decoder.adapter_1(finest)
        pyramid = self.decoder.layer_1(lateral + interpolate(fine, lateral.shape[-2:], mode="bilinear"))
        feature: Tensor = self.decoder.mask_projection(pyramid)
        return feature

    def _mix_scales(self, maps: Sequence[Tensor]) -> list[Tensor]:
        """Return `maps` after the layers of deformable attention."""
        sizes = [(feature.shape[-2], feature.shape[-1]) for feature in maps]
        embedded = zip(maps, self.decoder.level_embed, strict=True)
        positions = [sine_position_embedding(f).flatten(2) + level[:, None] for f, level in embedded]
        position = torch.cat(positions, 2).transpose(1, 2)  # (1, n, c), n pixels of all levels
        tokens = torch.cat([feature.flatten(2) for feature in maps], 2).transpose(1, 2)  # (B, n, c)
        for layer in self.decoder.encoder.layers:
            tokens = encode(layer, tokens, position, sizes)
        pixels = tokens.transpose(1, 2).split([height * width for height, width in sizes], 2)
        return [part.unflatten(2, size) for part, size in zip(pixels, sizes, strict=True)]


def encode(layer: Mask2FormerPixelDecoderEncoderLayer, tokens: Tensor, position: Tensor, sizes: Sizes) -> Tensor:
    """Return `tokens (B, n, c)` of the levels' pixels, of `sizes` (height, width), after an encoder layer."""
    seen = deformable_attention(layer.self_attn, tokens, position, sizes)
    tokens = layer.self_attn_layer_norm(tokens + seen)
    return layer.final_layer_norm(tokens + layer.fc2(relu(layer.fc1(tokens))))


def deformable_attention(
    attention: Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
    tokens: Tensor,
    position: Tensor,
    sizes: Sizes,
) -> Tensor:
    """Return, for each of `tokens (B, n, c)`, the weighted mean of the pixels that it chooses on every level.

    As in Deformable DETR: from the token's own place, to each head's points on each level, bilinear between pixels.
    """
    queries = tokens + position
    heads, levels, points = attention.n_heads, attention.n_levels, attention.n_points
    # Offsets are in pixels of their level and grids go from -1 to 1: scale the few weights, not the many offsets.
    sides = [side for height, width in sizes for side in (width, height)]
    scale = torch.cat([tokens.new_full((1,), 2 / side) for side in sides])  # made on the device: a GPU need not wait
    scale = scale.view(1, levels, 1, 2).expand(heads, -1, points, -1).flatten()
    places = pixel_places(sizes, tokens)[:, None].expand(-1, heads * levels * points, -1).flatten(1)
    offsets = attention.sampling_offsets
    grids = linear(queries, offsets.weight * scale[:, None], offsets.bias * scale) + places  # (B, n, h l p 2)
    grids = grids.unflatten(2, (heads, levels, points, 2)).permute(3, 0, 2, 1, 4, 5).flatten(1, 2)  # (l, B h, n, p, 2)
    weights = attention.attention_weights(queries).unflatten(2, (heads, levels * points)).softmax(3)
    weights = weights.unflatten(3, (levels, points)).permute(3, 0, 2, 1, 4).flatten(1, 2)  # (l, B h, n, p)
    values = attention.value_proj.weight @ tokens.transpose(1, 2) + attention.value_proj.bias[:, None]  # (B, c, n)
    parts = values.unflatten(1, (heads, -1)).flatten(0, 1).split([height * width for height, width in sizes], 2)
    sampled = [
        grid_sample(part.unflatten(2, size), grid, align_corners=False) * weight[:, None]  # (B h, c / h, n, p)
        for part, size, grid, weight in zip(parts, sizes, grids, weights, strict=True)
    ]
    seen = sum(sampled[1:], start=sampled[0]).sum(3)  # (B h, c / h, n)
    return attention.output_proj(seen.unflatten(0, (-1, heads)).flatten(1, 2).transpose(1, 2))


def pixel_places(sizes: Sizes, like: Tensor) -> Tensor:
    """Return x and y of every pixel's centre, level after level, `(n, 2)` from -1 to 1, as `grid_sample` counts."""
    places = []
    for height, width in sizes:
        rows = (2 * torch.arange(height, device=like.device) + 1) / height - 1
        columns = (2 * torch.arange(width, device=like.device) + 1) / width - 1
        places.append(torch.stack((columns.expand(height, -1), rows[:, None].expand(-1, width)), 2).flatten(0, 1))
    return torch.cat(places).to(like.dtype)


def initialise_deformable_attention(attention: Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention) -> None:
    """Start as Deformable DETR does: head k looks along direction k, point i at distance i, all weighed equally.

    Distances are in the largest of the two coordinates, so directions end on a square around the pixel.
    """
    angles = torch.arange(attention.n_heads) * (2 * math.pi / attention.n_heads)
    directions = torch.stack((angles.cos(), angles.sin()), -1)
    directions = directions / directions.abs().amax(-1, keepdim=True)  # (heads, 2)
    distances = torch.arange(1, attention.n_points + 1)
    offsets = directions[:, None, None] * distances[:, None]  # (heads, 1, points, 2)
    with torch.no_grad():
        attention.sampling_offsets.bias.copy_(offsets.expand(-1, attention.n_levels, -1, -1).flatten())
    for weight in (attention.sampling_offsets.weight, *attention.attention_weights.parameters()):
        nn.init.zeros_(weight)
    for projection in (attention.value_proj, attention.output_proj):
        nn.init.xavier_uniform_(projection.weight)
        nn.init.zeros_(projection.bias)
