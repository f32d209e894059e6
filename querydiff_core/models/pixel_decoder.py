"""Pixel decoder: multi-scale deformable attention and a feature pyramid, Mask2Former's from transformers."""

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerPixelDecoder,
    Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention,
)


class PixelDecoder(nn.Module):
    """Turn a backbone's four maps into a mask feature at 1/4 scale and three maps at 1/32, 1/16 and 1/8.

    Args:
        in_channels: channels of the backbone's maps, at strides 4, 8, 16, 32.
        channels: c, a multiple of 32.
        layers: layers of multi-scale deformable attention.
        heads: attention heads.
        feedforward: hidden channels of each layer's feed-forward network.
    """

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
        self.decoder = Mask2FormerPixelDecoder(config, list(in_channels))
        # The constructor leaves it as raw memory, on the CPU whatever the device.
        self.decoder.level_embed = nn.Parameter(torch.randn(self.decoder.level_embed.shape))
        for module in self.decoder.modules():
            if isinstance(module, Mask2FormerPixelDecoderEncoderMultiscaleDeformableAttention):
                initialise_deformable_attention(module)

    def forward(self, features: Sequence[Tensor]) -> tuple[Tensor, list[Tensor]]:
        """Return the mask feature `(B, c, H/4, W/4)` and maps `(B, c, h, w)` at 1/32, 1/16 and 1/8 scale."""
        output = self.decoder(list(features), output_attentions=False, output_hidden_states=False)
        return output.mask_features, list(output.multi_scale_features)


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
    for linear in (attention.value_proj, attention.output_proj):
        nn.init.xavier_uniform_(linear.weight)
        nn.init.zeros_(linear.bias)
