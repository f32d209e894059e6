"""The sizes of every variant of the student; importing this loads no PyTorch."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from querydiff_core.errors import QueryDiffError


@dataclasses.dataclass(frozen=True)
class VariantConfig:
    """All sizes of a student; JSON can hold it (`dataclasses.asdict`), so a checkpoint's metadata can rebuild it.

    Attributes:
        family: `timm` (a convolutional pyramid), `mit` (Segformer's encoder) or `vit` (a plain ViT of timm's).
        backbone: its name in timm, or on the Hugging Face hub for `mit`.
        backbone_options: further arguments of the backbone.
        channels: c, a multiple of 32.
        queries: r, the number of agent queries.
        heads: attention heads of the pixel decoder and of the mask decoder; they divide c.
        encoder_layers: deformable-attention layers of the pixel decoder.
        decoder_layers: masked-attention layers of the mask decoder.
        encoder_feedforward, decoder_feedforward: hidden channels of those layers.
        query_source: `agent`, or `learned` for queries that ignore the image (Mask2Former's, a baseline).
        query_options: further arguments of `AgentQueries`.
        refinement: whether maps read the agent queries (docs/method.md, section 4).
        auxiliary_head: whether there is a per-pixel head, which only training uses.
    """

    family: Literal["timm", "mit", "vit"]
    backbone: str
    backbone_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    channels: int = 256
    queries: int = 100
    heads: int = 8
    encoder_layers: int = 6
    decoder_layers: int = 9
    encoder_feedforward: int = 1024
    decoder_feedforward: int = 2048
    query_source: Literal["agent", "learned"] = "agent"
    query_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refinement: bool = True
    auxiliary_head: bool = True


# Depths and widths of MiT-B0 to B5 (Table 6 of the Segformer paper).
_MIT_SIZES = (
    ((2, 2, 2, 2), (32, 64, 160, 256)),
    ((2, 2, 2, 2), (64, 128, 320, 512)),
    ((3, 4, 6, 3), (64, 128, 320, 512)),
    ((3, 4, 18, 3), (64, 128, 320, 512)),
    ((3, 8, 27, 3), (64, 128, 320, 512)),
    ((3, 6, 40, 3), (64, 128, 320, 512)),
)
# timm's ViTs then resample their position embeddings to the image; its SAM always does.
_ANY_SIZE = {"dynamic_img_size": True}


def _mix_transformer(index: int, depths: Sequence[int], widths: Sequence[int]) -> VariantConfig:
    return VariantConfig("mit", f"nvidia/mit-b{index}", {"depths": list(depths), "hidden_sizes": list(widths)})


VARIANTS: Mapping[str, VariantConfig] = MappingProxyType(
    {
        "tiny": VariantConfig(
            "timm",
            "resnet18",
            {"channels": [16, 24, 32, 48]},
            channels=64,
            queries=20,
            heads=2,
            encoder_layers=1,
            decoder_layers=3,
            encoder_feedforward=64,
            decoder_feedforward=64,
        ),
        # docs/backbone_choice.md has the measurements behind it.
        "small": VariantConfig(
            "timm",
            "resnet18d",
            {"channels": [48, 96, 192, 320]},
            channels=96,
            heads=3,
            encoder_layers=1,
            decoder_layers=3,
            encoder_feedforward=384,
            decoder_feedforward=384,
        ),
        "resnet50": VariantConfig("timm", "resnet50.a1_in1k"),
        **{f"mit-b{i}": _mix_transformer(i, *sizes) for i, sizes in enumerate(_MIT_SIZES)},
        "dinov2-s": VariantConfig("vit", "vit_small_patch14_dinov2.lvd142m", _ANY_SIZE),
        "dinov2-b": VariantConfig("vit", "vit_base_patch14_dinov2.lvd142m", _ANY_SIZE),
        "dinov2-l": VariantConfig("vit", "vit_large_patch14_dinov2.lvd142m", _ANY_SIZE),
        "clip-l": VariantConfig("vit", "vit_large_patch14_clip_224.openai", _ANY_SIZE),
        "sam-b": VariantConfig("vit", "samvit_base_patch16.sa1b"),
        "sam-l": VariantConfig("vit", "samvit_large_patch16.sa1b"),
        "convnext-l": VariantConfig("timm", "convnext_large.fb_in22k"),
    }
)


def variant_config(variant: str, **overrides: Any) -> VariantConfig:
    """Return the sizes of a variant with some replaced.

    Raises:
        QueryDiffError: for an unknown variant or size.
    """
    if variant not in VARIANTS:
        raise QueryDiffError(f"Unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}.")
    known = [field.name for field in dataclasses.fields(VariantConfig)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise QueryDiffError(f"Variant {variant} has no setting {unknown[0]!r}: it has {', '.join(known)}.")
    return dataclasses.replace(VARIANTS[variant], **overrides)
