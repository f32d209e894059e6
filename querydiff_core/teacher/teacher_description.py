"""What a teacher would offer and cost, from its configuration alone: no weight is read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from querydiff_core.teacher.checkpoint_folder import CheckpointFolder, has_imagenet_latents
from querydiff_core.teacher.control_teacher import ControlTeacher
from querydiff_core.teacher.frozen_teacher import check_sides
from querydiff_core.teacher.imagenet_latents import ImageNetLatents
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES, UNetFeatures, feature_channels

EMPTY_TEXT_TOKENS = 77  # of CLIP's text encoders


@dataclass(frozen=True)
class FeatureDescription:
    """One activation that can be a feature, for an image size: `grid` is (h_j, w_j)."""

    name: str
    channels: int
    grid: tuple[int, int]


@dataclass(frozen=True)
class TeacherDescription:
    """What a teacher offers for an image size, and what it costs.

    Attributes:
        features: what can be named, in the order in which the UNet computes it.
        multiple: what image sides must be multiples of.
        prediction_type: of the scheduler: `epsilon` or `v_prediction`; the teacher works with both.
        timesteps: of the scheduler.
        unet_parameters: of the whole UNet.
        used_unet_parameters: of what runs up to the last default feature.
        encoder_parameters: of the VAE without its decoder, or of the ImageNet network in its place.
        unet_flops: of one pass of the whole UNet for one image, floating-point operations.
        used_unet_flops: of one pass up to the last default feature; the teacher makes two an image.
        encoder_flops: of encoding one image.
    """

    features: list[FeatureDescription]
    multiple: int
    prediction_type: str
    timesteps: int
    unet_parameters: int
    used_unet_parameters: int
    encoder_parameters: int
    unet_flops: int
    used_unet_flops: int
    encoder_flops: int


@dataclass(frozen=True)
class ControlDescription:
    """What a control teacher offers for an image size, and the operations of one pass; the teacher makes two."""

    features: list[FeatureDescription]
    multiple: int
    parameters: int
    flops: int


def describe_control(source: str, size: tuple[int, int]) -> ControlDescription:
    """Describe a control teacher for images of a size (height, width).

    Raises:
        QueryDiffError: if there is no such control, or it cannot see images of that size.
    """
    teacher = ControlTeacher.load(source, pretrained=False).to("meta")
    check_sides(size, teacher.multiple)
    images = torch.empty(1, 3, *size, device="meta")
    shapes = [each.shape for each in teacher.network(images)]
    features = [FeatureDescription(f"stride {size[0] // s[2]}", s[1], (s[2], s[3])) for s in shapes]
    return ControlDescription(features, teacher.multiple, _parameters(teacher), flops(teacher.network, images))


def describe(source: str | Path, size: tuple[int, int]) -> TeacherDescription:
    """Describe the Stable Diffusion in a folder or on the hub for images of a size (height, width).

    Raises:
        QueryDiffError: if it is none, lacks one of the default features, or cannot see images of that size.
    """
    folder = CheckpointFolder.find(source, weights=False)
    scheduler = folder.config("scheduler")
    with folder.reading("unet"):
        unet = meta_unet(folder.config("unet"))
    with folder.reading("vae"):
        config = folder.config("vae")
        vae = meta_imagenet_latents(config) if has_imagenet_latents(config) else meta_vae_encoder(config)
    latent_cell = 2 ** (len(vae.config["block_out_channels"]) - 1)
    multiple = latent_cell * 2**unet.num_upsamplers
    check_sides(size, multiple)
    latents = (1, vae.config["latent_channels"], size[0] // latent_cell, size[1] // latent_cell)
    available = _available(unet, latents)
    unet_parameters, unet_flops = _parameters(unet), flops(unet, *unet_inputs(unet, latents))
    used = UNetFeatures(unet, DEFAULT_FEATURES)  # this changes `unet`
    return TeacherDescription(
        features=available,
        multiple=multiple,
        prediction_type=scheduler.get("prediction_type", "epsilon"),
        timesteps=scheduler.get("num_train_timesteps", 1000),
        unet_parameters=unet_parameters,
        used_unet_parameters=_parameters(used),
        encoder_parameters=_parameters(nn.ModuleList([vae, vae.encoder])),  # each once
        unet_flops=unet_flops,
        used_unet_flops=flops(used, *unet_inputs(unet, latents)),
        encoder_flops=flops(vae.encoder, torch.empty(1, 3, *size, device="meta")),
    )


def meta_unet(config: Any) -> UNet2DConditionModel:
    """Return a UNet without weights, which computes shapes alone."""
    with torch.device("meta"):
        return UNet2DConditionModel.from_config(config).eval()


def meta_vae_encoder(config: Any) -> AutoencoderKL:
    """Return a VAE without decoder and without weights."""
    with torch.device("meta"):
        vae = AutoencoderKL.from_config(config).eval()
    del vae.decoder, vae.post_quant_conv
    return vae


def meta_imagenet_latents(config: Any) -> ImageNetLatents:
    """Return ImageNet latents without weights."""
    with torch.device("meta"):
        latents: ImageNetLatents = ImageNetLatents.from_config(config)
    return latents


def unet_inputs(unet: UNet2DConditionModel, latents: tuple[int, ...]) -> tuple[Tensor, Tensor, Tensor]:
    """Return latents of a shape `(B, 4, h, w)`, timesteps and text that a UNet without weights can run on."""
    batch, text_channels = latents[0], unet.config["cross_attention_dim"]
    text = torch.empty(batch, EMPTY_TEXT_TOKENS, text_channels, device="meta")
    return torch.empty(latents, device="meta"), torch.zeros(batch, device="meta"), text


@torch.no_grad()
def flops(module: nn.Module, *inputs: Tensor) -> int:
    """Return the floating-point operations (two a multiply-add) of a module's matrix products and convolutions."""
    with FlopCounterMode(display=False) as counter:
        module(*inputs)
    return counter.get_total_flops()


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


@torch.no_grad()
def _available(unet: UNet2DConditionModel, latents: tuple[int, ...]) -> list[FeatureDescription]:
    shapes: dict[str, torch.Size] = {}

    def keep(name: str, output: Any) -> None:
        shapes[name] = (output[0] if isinstance(output, tuple) else output).shape

    hooks = [
        unet.get_submodule(name).register_forward_hook(lambda module, inputs, output, name=name: keep(name, output))
        for name in feature_channels(unet)
    ]
    unet(*unet_inputs(unet, latents))
    for hook in hooks:
        hook.remove()
    return [FeatureDescription(name, shape[1], (shape[2], shape[3])) for name, shape in shapes.items()]
