"""What a frozen Stable Diffusion sees in an image (docs/method.md, section 2); docs/teacher.md is for its users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from diffusers.models import AutoencoderKL
from torch import Tensor

from querydiff_core.teacher.checkpoint_folder import CheckpointFolder
from querydiff_core.teacher.frozen_teacher import FrozenTeacher
from querydiff_core.teacher.imagenet_latents import ImageNetLatents
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES, UNetFeatures

Precision = Literal["fp32", "fp16", "bf16"]
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class DiffusionTeacher(FrozenTeacher):
    """Give the activations of a diffusion UNet, in the precision that it was loaded with.

    Args:
        vae: encodes images; its decoder is not used. ImageNet latents may stand in its place.
        unet: gives the features.
        empty_text: the embedding `(1, n, d)` of the empty text.
        noise_schedule, weak_timestep, strong_timestep: of `FrozenTeacher`.
    """

    def __init__(
        self,
        vae: AutoencoderKL | ImageNetLatents,
        unet: UNetFeatures,
        empty_text: Tensor,
        noise_schedule: Tensor,
        *,
        weak_timestep: int = 0,
        strong_timestep: int = 100,
    ) -> None:
        super().__init__(noise_schedule, weak_timestep, strong_timestep)
        self.vae, self.unet = vae, unet
        self.empty_text: Tensor
        self.register_buffer("empty_text", empty_text)
        self.channels, self.multiple = unet.channels, self._latent_cell * 2**unet.unet.num_upsamplers
        self.requires_grad_(False).eval()

    @classmethod
    def load(
        cls,
        source: str | Path,
        *,
        features: Sequence[str] = DEFAULT_FEATURES,
        weak_timestep: int = 0,
        strong_timestep: int = 100,
        precision: Precision = "fp32",
        channels_last: bool = False,
        compile: bool = False,
        pretrained: bool = True,
    ) -> DiffusionTeacher:
        """Read what a teacher needs of a Stable Diffusion in the diffusers layout.

        Args:
            source: a folder, or a repository on the Hugging Face hub.
            features: module paths of UNet activations: ResNets, attentions or whole up blocks.
            weak_timestep: t_w.
            strong_timestep: t_s.
            precision: of weights and activations; the features are float32 in any case.
            channels_last: memory layout that convolutions in half precision prefer on GPUs.
            compile: compile VAE and UNet with torch.compile at the first call.
            pretrained: False leaves UNet and VAE random, to compare with; ImageNet latents stay what they are.

        Raises:
            QueryDiffError: if the source is no such checkpoint, is out of reach, lacks a feature, or is damaged.
        """
        folder, dtype = CheckpointFolder.find(source, half=precision != "fp32"), _DTYPES[precision]
        teacher = cls(
            folder.load_latent_encoder(dtype, pretrained=pretrained),
            UNetFeatures(folder.load_unet(dtype, pretrained=pretrained), features),
            folder.embed_empty_text().to(dtype),
            folder.noise_schedule(),
            weak_timestep=weak_timestep,
            strong_timestep=strong_timestep,
        )
        if channels_last:
            teacher.to(memory_format=torch.channels_last)
        if compile:
            teacher.vae.encoder.compile()
            teacher.unet.compile()
        return teacher

    @property
    def _latent_cell(self) -> int:
        return 2 ** (len(self._vae_config.block_out_channels) - 1)

    @property
    def _vae_config(self) -> Any:
        return self.vae.config

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape (channels, rows, columns) of the latents of one image."""
        return self._vae_config.latent_channels, height // self._latent_cell, width // self._latent_cell

    def encode(self, images: Tensor) -> Tensor:
        """Return z_0, the scaled mean latents `(B, 4, H / 8, W / 8)` in float32, of RGB images in 0..1."""
        mean = self.vae.encode((2 * images - 1).to(self.empty_text.dtype)).latent_dist.mean.float()
        return (mean - (self._vae_config.shift_factor or 0)) * self._vae_config.scaling_factor

    def maps(self, z_t: Tensor) -> list[Tensor]:
        """Return the UNet's activations for noised latents, both timesteps in one batch."""
        timesteps = torch.tensor(self.timesteps, device=z_t.device).repeat_interleave(len(z_t) // 2)
        found: list[Tensor] = self.unet(
            z_t.to(self.empty_text.dtype), timesteps, self.empty_text.expand(len(z_t), -1, -1)
        )
        return found
