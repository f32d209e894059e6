"""Mask decoder: masked attention from the agent queries to the refined maps, around Mask2Former's layers."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, linear
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerMaskedAttentionDecoder,
    Mask2FormerMaskedAttentionDecoderLayer,
)

from querydiff_core.models.attention import sine_position_embedding

LEVELS = 3


class MaskDecoder(nn.Module):
    """Turn r agent queries into r masks and r class distributions.

    The layers are Mask2Former's of transformers; the loop around them is not. Each layer attends only to the
    masks of the layer before. For that, masks are computed from the mask feature resized to the layer's map, r products
    with c channels: resizing is linear, so it commutes with them, and masks at 1/4 scale are computed for the output.

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
        self.decoder: Any = Mask2FormerMaskedAttentionDecoder(config)
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
        values = [feature.flatten(2) + e[:, None] for feature, e in zip(maps, self.level_embedding, strict=True)]
        keys = [v + sine_position_embedding(f).flatten(2) for v, f in zip(values, maps, strict=True)]  # (B, c, h_i w_i)
        outlines = [interpolate(mask_features.detach(), f.shape[-2:], mode="bilinear").flatten(2) for f in maps]
        states = [queries]  # (B, r, c) each
        for index, layer in enumerate(self.decoder.layers):
            level = index % LEVELS
            hidden = outside(self._mask_embeddings(states[-1]).detach() @ outlines[level])
            states.append(self._decode(layer, states[-1], keys[level], values[level], hidden))
        kept = states if self.training else states[-1:]
        masks = [self._mask_embeddings(state) @ mask_features.flatten(2) for state in kept]
        classes = [self.class_head(self.decoder.layernorm(state)) for state in kept]
        return [mask.unflatten(2, mask_features.shape[-2:]) for mask in masks], classes

    def _mask_embeddings(self, state: Tensor) -> Tensor:
        return self.decoder.mask_predictor.mask_embedder(self.decoder.layernorm(state))

    def _decode(
        self,
        layer: Mask2FormerMaskedAttentionDecoderLayer,
        state: Tensor,
        keys: Tensor,
        values: Tensor,
        hidden: Tensor,
    ) -> Tensor:
        """Return the state `(B, r, c)` after `layer`."""
        seen = cross_attention(layer.cross_attn, state + self.position_embedding, keys, values, hidden)
        state = layer.cross_attn_layer_norm(state + seen)
        mixed, _ = layer.self_attn(state.transpose(0, 1), position_embeddings=self.position_embedding[:, None])
        state = layer.self_attn_layer_norm(state + mixed.transpose(0, 1))
        return layer.final_layer_norm(state + layer.fc2(layer.activation_fn(layer.fc1(state))))


def outside(logits: Tensor) -> Tensor:
    """Return where masks are absent, bool `(B, r, n)` of logits `(B, r, n)`; a mask absent everywhere hides nothing."""
    return (logits < 0) & (logits.amax(2, keepdim=True) >= 0)


def cross_attention(
    attention: nn.MultiheadAttention, queries: Tensor, keys: Tensor, values: Tensor, hidden: Tensor
) -> Tensor:
    """Return `attention` of `queries (B, r, c)` to `(B, c, n)` maps, as `(B, r, c)`; no query sees where it is hidden.

    `nn.MultiheadAttention` itself takes maps as tokens and one mask for each head: copies that cost more than the
    attention.

    Args:
        hidden: bool `(B, r, n)`.
    """
    (query_weight, key_weight, value_weight), biases = (
        attention.in_proj_weight.chunk(3),
        attention.in_proj_bias.chunk(3),
    )
    heads = (attention.num_heads, -1)
    query = linear(queries, query_weight, biases[0]).unflatten(2, heads).transpose(1, 2)  # (B, heads, r, c / heads)
    key = (key_weight @ keys + biases[1][:, None]).unflatten(1, heads)  # (B, heads, c / heads, n)
    value = (value_weight @ values + biases[2][:, None]).unflatten(1, heads)
    penalty = torch.zeros_like(hidden, dtype=query.dtype).masked_fill(hidden, -torch.inf)[:, None]  # (B, 1, r, n)
    weights = (query * query.shape[-1] ** -0.5 @ key + penalty).softmax(3)
    return attention.out_proj((weights @ value.transpose(2, 3)).transpose(1, 2).flatten(2))


def initialise_layer(layer: Mask2FormerMaskedAttentionDecoderLayer) -> None:
    """Start a decoder layer's matrices from Xavier's distribution, as Mask2Former does."""
    for parameter in layer.parameters():
        if parameter.dim() > 1:
            nn.init.xavier_uniform_(parameter)
