"""What a frozen Stable Diffusion sees in an image (docs/method.md, section 2); docs/teacher.md is for its users."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from diffusers.models import AutoencoderKL
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.checkpoint_folder import CheckpointFolder
from querydiff_core.teacher.imagenet_latents import ImageNetLatents
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES, UNetFeatures

Precision = Literal["fp32", "fp16", "bf16"]
_DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


class TeacherFeatures(NamedTuple):
    """Diffusion features of a batch of images, layer-normed over channels, float32, without gradient.

    Attributes:
        weak: `(B, h_j w_j, c_j)` of each feature j at the weak timestep t_w.
        strong: the same at the strong timestep t_s.
        sizes: `(h_j, w_j)`.
    """

    weak: list[Tensor]
    strong: list[Tensor]
    sizes: list[tuple[int, int]]


class DiffusionTeacher(nn.Module):
    """Give the activations of a diffusion UNet for images with weak and with strong noise (Eqs. 1 and 7).

    It is frozen: no parameter asks for a gradient, it stays in evaluation mode whatever `train` is told, and runs
    without autocast in the precision that it was loaded with.

    Args:
        vae: encodes images; its decoder is not used. ImageNet latents may stand in its place.
        unet: gives the features.
        empty_text: the embedding `(1, n, d)` of the empty text.
        noise_schedule: abar_t of Eq. 1 for every timestep.
        weak_timestep: t_w; the paper finds 0 best (Table 5). At 0 no noise is added.
        strong_timestep: t_s; the paper finds 100 best.

    Raises:
        QueryDiffError: for timesteps that the checkpoint was not trained for.
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
        super().__init__()
        if not 0 <= weak_timestep <= strong_timestep < len(noise_schedule):
            raise QueryDiffError(
                f"The teacher's timesteps must be 0 <= weak <= strong <= {len(noise_schedule) - 1}, not "
                f"weak {weak_timestep} and strong {strong_timestep}."
            )
        self.vae, self.unet = vae, unet
        self.empty_text: Tensor
        self.register_buffer("empty_text", empty_text)
        self.timesteps = (weak_timestep, strong_timestep)
        self.abar = tuple(float(noise_schedule[t]) if t else 1.0 for t in self.timesteps)
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
    def channels(self) -> tuple[int, ...]:
        """Channels c_j of each feature."""
        return self.unet.channels

    @property
    def multiple(self) -> int:
        """What the sides of images must be multiples of: 64 for Stable Diffusion."""
        return self._latent_cell * 2**self.unet.unet.num_upsamplers

    @property
    def _latent_cell(self) -> int:
        return 2 ** (len(self._vae_config.block_out_channels) - 1)

    @property
    def _vae_config(self) -> Any:
        return self.vae.config

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape (channels, rows, columns) of the latents, hence of the noise, of one image."""
        return self._vae_config.latent_channels, height // self._latent_cell, width // self._latent_cell

    def train(self, mode: bool = True) -> DiffusionTeacher:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, noise: Tensor | None = None) -> TeacherFeatures:
        """Return the features of a batch at both timesteps, which share one draw of noise.

        Args:
            images: RGB in 0..1, `(B, 3, H, W)`, with sides that are multiples of `multiple`.
            noise: standard normal `(B, *latent_shape(H, W))`; drawn when absent.

        Raises:
            QueryDiffError: for sides that are not such multiples.
        """
        self._check_sides(*images.shape[2:])
        with torch.autocast(images.device.type, enabled=False):
            z_0 = self.encode(images)
            # Not randn_like: it fills memory in order, so that the same seed would give other noise in other layouts.
            noise = torch.randn(z_0.shape, device=z_0.device) if noise is None else noise.to(z_0)
            z_t = self._noised(z_0, noise)  # (2 B, 4, h, w)
            timesteps = torch.tensor(self.timesteps, device=z_t.device).repeat_interleave(len(images))
            maps = self.unet(z_t.to(self.empty_text.dtype), timesteps, self.empty_text.expand(len(z_t), -1, -1))
        tokens = [layer_normed(feature) for feature in maps]  # (2 B, h_j w_j, c_j)
        weak, strong = zip(*(both.chunk(2) for both in tokens), strict=True)
        return TeacherFeatures(list(weak), list(strong), [(m.shape[2], m.shape[3]) for m in maps])

    def encode(self, images: Tensor) -> Tensor:
        """Return z_0, the scaled mean latents `(B, 4, H / 8, W / 8)` in float32, of RGB images in 0..1."""
        mean = self.vae.encode((2 * images - 1).to(self.empty_text.dtype)).latent_dist.mean.float()
        return (mean - (self._vae_config.shift_factor or 0)) * self._vae_config.scaling_factor

    def _noised(self, z_0: Tensor, noise: Tensor) -> Tensor:
        """Return z_t = sqrt(abar_t) z_0 + sqrt(1 - abar_t) eps (Eq. 1), weak ones first."""
        return torch.cat([abar**0.5 * z_0 + (1 - abar) ** 0.5 * noise for abar in self.abar])

    def _check_sides(self, height: int, width: int) -> None:
        if height % self.multiple or width % self.multiple:
            raise QueryDiffError(
                f"The teacher needs image sides that are multiples of {self.multiple}, not {height} x {width}: "
                "change the crop size."
            )


def layer_normed(feature: Tensor) -> Tensor:
    """Return a map `(B, c, h, w)` as `(B, h w, c)`, float32, layer-normed over channels."""
    pixels = feature.float().flatten(2).transpose(1, 2)  # (B, h w, c)
    return layer_norm(pixels, pixels.shape[-1:])
