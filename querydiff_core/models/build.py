"""Variant to wired model: the only place that knows sizes, weights and hubs."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import nn

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.models.agent_queries import AgentQueries, LearnedQueries, TokenQueries
from querydiff_core.models.backbone import Backbone, MixTransformer, Pretrained, TimmPyramid, VisionTransformerPyramid
from querydiff_core.models.mask_decoder import MaskDecoder
from querydiff_core.models.pixel_decoder import PixelDecoder
from querydiff_core.models.pyramid_decoder import PyramidDecoder
from querydiff_core.models.querydiff import QueryDiff
from querydiff_core.models.refinement import IdentityRefinement, Refinement
from querydiff_core.models.rein import ReinQueries
from querydiff_core.models.variants import VariantConfig, variant_config

REFINED = {"deformable": 4, "pyramid": 3}
"""How many maps each pixel decoder has refined: the mask feature at 1/4 scale, if at all, and three maps."""


def build_model(variant: str, *, classes: int = 19, pretrained: Pretrained = False, **overrides: Any) -> QueryDiff:
    """Build the student of that name with random weights, or with a pretrained backbone.

    Args:
        variant: a name in `variants.VARIANTS`.
        classes: number of classes, without `no object`.
        pretrained: True takes the backbone's published weights from its hub; a path takes them from that file (timm)
            or folder (MiT).
        overrides: settings of `VariantConfig` that differ from the variant's.

    Returns:
        The model, in training mode. Its `variant`, `classes` and `config` rebuild it; `mean` and `std` normalise RGB
        in 0..1 for it.

    Raises:
        QueryDiffError: for an unknown variant or setting, settings that do not go together, or pretrained weights that
            cannot be loaded.
    """
    config = variant_config(variant, **overrides)

    backbone = _build_backbone(config, pretrained)
    _apply_scheme(config, backbone)
    return QueryDiff(
        backbone,
        _build_queries(config, backbone),
        _build_pixel_decoder(config, backbone.channels),
        _build_refinements(config),
        _build_mask_decoder(config, classes),
        _build_pixel_head(config, classes),
        variant=variant,
        config={"classes": classes, **dataclasses.asdict(config)},
    )


def _build_backbone(config: VariantConfig, pretrained: Pretrained) -> Backbone:
    family = {"timm": TimmPyramid, "mit": MixTransformer, "vit": VisionTransformerPyramid}[config.family]
    if pretrained is False:
        return family(config.backbone, **config.backbone_options)
    _check_pretrained(config, pretrained)
    source = "their hub" if pretrained is True else pretrained
    failed = f"Weights of {config.backbone} could not be loaded from {source}: {{reason}}."
    with explained(failed, Exception):  # hubs and loaders raise errors of many libraries
        return family(config.backbone, pretrained=pretrained, **config.backbone_options)


def _check_pretrained(config: VariantConfig, pretrained: Pretrained) -> None:
    if isinstance(pretrained, bool):
        return
    path = Path(pretrained)
    if config.family == "mit" and not path.is_dir():
        raise QueryDiffError(
            f"Pretrained weights of {config.backbone}: expected a folder of the hub's, found no {path}."
        )
    if config.family != "mit" and not (path.is_file() and path.suffix == ".safetensors"):
        raise QueryDiffError(f"Pretrained weights of {config.backbone}: expected a .safetensors file, found {path}.")


def _apply_scheme(config: VariantConfig, backbone: Backbone) -> None:
    if config.scheme == "rein":
        assert isinstance(backbone, (VisionTransformerPyramid, TimmPyramid))  # `variant_config` refuses any other
        backbone.add_rein(**{"tokens": config.queries, **config.rein_options})
    elif config.scheme != "full":
        backbone.freeze()


def _build_queries(config: VariantConfig, backbone: Backbone) -> nn.Module:
    if config.query_source == "learned":
        return LearnedQueries(config.channels, config.queries)
    if config.query_source == "rein":
        assert isinstance(backbone, VisionTransformerPyramid)  # `variant_config` refuses any other
        return ReinQueries(backbone.rein, config.channels)
    if config.query_source == "tokens":
        assert isinstance(backbone, (VisionTransformerPyramid, TimmPyramid))
        widths = [tokens.shape[1] for tokens in backbone.token_sets()]
        return TokenQueries(backbone.token_sets, widths, config.channels, config.queries, **config.query_options)
    read = backbone.channels[-config.query_maps :]
    return AgentQueries(read, config.channels, config.queries, **config.query_options)


def _build_pixel_decoder(config: VariantConfig, in_channels: Sequence[int]) -> nn.Module:
    if config.pixel_decoder == "pyramid":
        return PyramidDecoder(in_channels, config.channels, config.heads)
    return PixelDecoder(in_channels, config.channels, config.encoder_layers, config.heads, config.encoder_feedforward)


def _build_refinements(config: VariantConfig) -> list[nn.Module]:
    return [
        Refinement(config.channels) if config.refinement else IdentityRefinement()
        for _ in range(REFINED[config.pixel_decoder])
    ]


def _build_mask_decoder(config: VariantConfig, classes: int) -> nn.Module:
    return MaskDecoder(
        config.channels, config.queries, classes, config.decoder_layers, config.heads, config.decoder_feedforward
    )


def _build_pixel_head(config: VariantConfig, classes: int) -> nn.Module | None:
    return nn.Conv2d(config.channels, classes, 1) if config.auxiliary_head else None
