"""The sizes of every variant of the student; importing this loads no PyTorch."""

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

from querydiff_core.errors import QueryDiffError

QuerySource = Literal["agent", "tokens", "learned", "rein"]


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
        pixel_decoder: `deformable` (Mask2Former's deformable attention over three maps) or `pyramid` (a feature
            pyramid of few and large operators, made for CPUs; it has no `encoder_layers`).
        encoder_layers: deformable-attention layers of the pixel decoder.
        decoder_layers: masked-attention layers of the mask decoder.
        encoder_feedforward, decoder_feedforward: hidden channels of those layers.
        scheme: `full` tunes the pretrained network; `frozen` keeps it as it is, statistics included; `rein` refines
            the blocks of a frozen ViT, or the four maps of a frozen convolutional pyramid.
        rein_options: further arguments of `Rein`: tokens (m, r by default) and rank; for a ViT also shared.
        query_source: `agent`; `tokens`, agent queries that merge the token sets of scheme `rein` and are the same for
            every image, as the authors have it; or, as baselines, `learned` (Mask2Former's) or `rein` (linked to Rein's
            tokens by Rein's own rule).
        query_maps: how many of the backbone's four maps, the coarsest, the agent queries read.
        query_options: further arguments of `AgentQueries`, or of `TokenQueries`.
        refinement: whether maps read the agent queries (docs/method.md, section 4).
        auxiliary_head: whether there is a per-pixel head, which only training uses.
    """

    family: Literal["timm", "mit", "vit"]
    backbone: str
    backbone_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    channels: int = 256
    queries: int = 100
    heads: int = 8
    pixel_decoder: Literal["deformable", "pyramid"] = "deformable"
    encoder_layers: int = 6
    decoder_layers: int = 9
    encoder_feedforward: int = 1024
    decoder_feedforward: int = 2048
    scheme: Literal["full", "frozen", "rein"] = "full"
    rein_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    query_source: QuerySource = "agent"
    query_maps: int = 4
    query_options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    refinement: bool = True
    auxiliary_head: bool = True


REIN_OPTIONS = {"vit": ("tokens", "rank", "shared"), "timm": ("tokens", "rank")}

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


def _light_student(
    backbone: str, widths: Sequence[int], *, channels: int, queries: int, heads: int, feedforward: int
) -> VariantConfig:
    """Return a student with few decoder layers behind a narrow ResNet."""
    return VariantConfig(
        "timm",
        backbone,
        {"channels": list(widths)},
        channels=channels,
        queries=queries,
        heads=heads,
        encoder_layers=1,
        decoder_layers=3,
        encoder_feedforward=feedforward,
        decoder_feedforward=feedforward,
    )


VARIANTS: Mapping[str, VariantConfig] = MappingProxyType(
    {
        "tiny": _light_student("resnet18", (16, 24, 32, 48), channels=64, queries=20, heads=2, feedforward=64),
        # What was `small` in files of format version 1.
        "small-resnet18d": _light_student(
            "resnet18d", (48, 96, 192, 320), channels=96, queries=100, heads=3, feedforward=384
        ),
        # Made for CPUs, and with ImageNet weights from a package; docs/benchmarks.md has the measurements behind it.
        "small": VariantConfig(
            "timm",
            "tf_efficientnet_lite0",
            channels=96,
            queries=50,
            heads=3,
            pixel_decoder="pyramid",
            decoder_layers=3,
            decoder_feedforward=384,
            query_maps=3,
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
        QueryDiffError: for an unknown variant or setting, or settings that do not go together.
    """
    if variant not in VARIANTS:
        raise QueryDiffError(f"Unknown variant {variant!r}: choose one of {', '.join(VARIANTS)}.")
    known = [field.name for field in dataclasses.fields(VariantConfig)]
    unknown = sorted(set(overrides) - set(known))
    if unknown:
        raise QueryDiffError(f"Variant {variant} has no setting {unknown[0]!r}: it has {', '.join(known)}.")
    config = dataclasses.replace(VARIANTS[variant], **overrides)
    _check_choice(variant, "scheme", config.scheme, ("full", "frozen", "rein"))
    if config.channels % 32 or config.channels < 32 or config.queries < 1:
        raise QueryDiffError(
            f"Variant {variant}: channels must be a multiple of 32 and queries 1 or more, found {config.channels} and "
            f"{config.queries}."
        )
    _check_choice(variant, "query_source", config.query_source, get_args(QuerySource))
    _check_choice(variant, "pixel_decoder", config.pixel_decoder, ("deformable", "pyramid"))
    if not 1 <= config.query_maps <= 4:
        raise QueryDiffError(f"Variant {variant}: query_maps must be 1 to 4, found {config.query_maps}.")
    _check_rein(variant, config)
    return config


def _check_choice(variant: str, setting: str, found: str, choices: Sequence[str]) -> None:
    if found not in choices:
        raise QueryDiffError(f"Variant {variant}: {setting} is one of {', '.join(choices)}, found {found!r}.")


def _check_rein(variant: str, config: VariantConfig) -> None:
    if config.scheme != "rein":
        if config.query_source in ("rein", "tokens"):
            raise QueryDiffError(
                f"Variant {variant}: query_source {config.query_source} needs scheme rein, found {config.scheme}."
            )
        return
    if config.family not in REIN_OPTIONS:
        known = ", ".join(name for name, each in VARIANTS.items() if each.family in REIN_OPTIONS)
        raise QueryDiffError(
            f"Scheme rein refines the blocks of a ViT or the maps of a convolutional pyramid, and {variant} is neither "
            f"({config.backbone}): choose scheme full or frozen, or one of {known}."
        )
    if config.query_source == "rein" and config.family != "vit":
        raise QueryDiffError(
            f"With query_source rein the tokens of a ViT are the queries, and {variant} has none ({config.backbone}): "
            "choose query_source learned or agent."
        )
    options = REIN_OPTIONS[config.family]
    if unknown := sorted(set(config.rein_options) - set(options)):
        raise QueryDiffError(f"Variant {variant}: rein_options are {', '.join(options)}, found {unknown[0]!r}.")
    tokens, rank = config.rein_options.get("tokens", config.queries), config.rein_options.get("rank", 1)
    if tokens < 2 or rank < 1:
        raise QueryDiffError(f"Rein needs 2 or more tokens of rank 1 or more, found {tokens} of rank {rank}.")
    if config.query_source in ("rein", "tokens") and tokens != config.queries:
        raise QueryDiffError(
            f"With query_source {config.query_source} each of Rein's tokens is a query: found {tokens} tokens and "
            f"{config.queries} queries; leave rein_options.tokens out."
        )
