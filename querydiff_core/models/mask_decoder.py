"""Mask decoder: masked attention from the agent queries to the refined maps, Mask2Former's from transformers."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoder,
    Mask2FormerMaskedAttentionDecoderLayer,
)

LEVELS = 3


class MaskDecoder(nn.Module):
    """Turn r agent queries into r masks and r class distributions.

    Args:
        channels: c.
        queries: r.
        classes: number of classes, without the `no object` that is added as the last one.
        layers: masked-attention layers (9 in the paper); layer i reads map i modulo 3.
        heads: attention heads.
        feedforward: hidden channels of each layer's feed-forward network.
    """

    def __init__(self, channels: int, queries: int, classes: int, layers: int, heads: int, feedforward: int) -> None:
        super().__init__()
        config = Mask2FormerConfig(
            hidden_dim=channels,
            mask_feature_size=channels,
            # transformers counts the prediction before the first layer as a layer
            decoder_layers=layers + 1,
            num_attention_heads=heads,
            dim_feedforward=feedforward,
        )
        self.position_embedding = nn.Parameter(torch.randn(queries, channels))
        self.level_embedding = nn.Parameter(torch.randn(LEVELS, channels))
        self.decoder = Mask2FormerMaskedAttentionDecoder(config)
        self.class_head = nn.Linear(channels, classes + 1)
        for module in self.decoder.modules():
            if isinstance(module, Mask2FormerMaskedAttentionDecoderLayer):
                initialise_layer(module)

    def forward(
        self, queries: Tensor, mask_features: Tensor, maps: Sequence[Tensor]
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Return mask logits `(B, r, h, w)` and class logits `(B, r, classes + 1)` as two lists, the last layer last.

        In training the lists hold layers + 1 entries, the first one from the agent queries themselves, for deep
        supervision; otherwise the last layer's only.

        Args:
            queries: agent queries `(B, r, c)`.
            mask_features: `(B, c, h, w)` at 1/4 scale.
            maps: three maps `(B, c, h_i, w_i)`, coarse to fine.
        """
        keys = [feature.flatten(2).permute(2, 0, 1) for feature in maps]  # (h_i w_i, B, c)
        positions = [sine_position_embedding(feature).flatten(2).permute(2, 0, 1) for feature in maps]
        output = self.decoder(
            inputs_embeds=queries.transpose(0, 1),
            multi_stage_positional_embeddings=positions,
            pixel_embeddings=mask_features,
            encoder_hidden_states=[key + level for key, level in zip(keys, self.level_embedding, strict=True)],
            query_position_embeddings=self.position_embedding[:, None].expand(-1, queries.shape[0], -1),
            feature_size_list=[feature.shape[-2:] for feature in maps],
            output_attentions=False,
            output_hidden_states=False,
            return_dict=True,
        )
        kept = slice(None) if self.training else slice(-1, None)
        states = output.intermediate_hidden_states[kept]  # (r, B, c) each
        return list(output.masks_queries_logits[kept]), [self.class_head(state.transpose(0, 1)) for state in states]


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


def initialise_layer(layer: Mask2FormerMaskedAttentionDecoderLayer) -> None:
    """Start a decoder layer's matrices from Xavier's distribution, as Mask2Former does."""
    for parameter in layer.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)


def _waves(length: int, wavelengths: Tensor) -> Tensor:
    steps = torch.arange(1, length + 1, device=wavelengths.device, dtype=torch.float32) / length
    angles = 2 * torch.pi * steps[:, None] / wavelengths
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
