"""The second stage: a UNet learns to find the noise in noisy latents."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

SAMPLING_STEPS = 50
JUDGED_TIMESTEPS = 8  # a held-out image is judged at as many timesteps, evenly spaced


class DenoiserStage:
    """The mean squared error of the predicted noise (or velocity) of latents at random timesteps.

    Args:
        pipeline: diffusers' StableDiffusionPipeline; its `unet` is trained, its autoencoder, text encoder and
            scheduler stay as they are.
        steps: to train.
        seed: of the samples.
        half: whether to compute in bf16.
    """

    name = "denoiser"
    number = 1

    def __init__(self, pipeline: Any, steps: int, seed: int, *, half: bool = False) -> None:
        self.steps = steps
        self.seed = seed
        self.half = half
        self.network: UNet2DConditionModel = pipeline.unet
        self._pipeline = pipeline
        self._autoencoder: AutoencoderKL = pipeline.vae
        self._scheduler = pipeline.scheduler
        with torch.no_grad():
            self._empty_text, _ = pipeline.encode_prompt("", pipeline.device, 1, do_classifier_free_guidance=False)

    def losses(self, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Return the loss."""
        latents = self._latents(images, random)
        timesteps = torch.randint(len(self._scheduler.betas), (len(images),), generator=random)
        return {"loss": self._error(latents, timesteps, random)}

    @torch.no_grad()
    def judge(self, images: Tensor) -> dict[str, float]:
        """Return the loss of held-out images at evenly spaced timesteps."""
        random = torch.Generator().manual_seed(self.seed)
        levels = torch.arange(JUDGED_TIMESTEPS) * len(self._scheduler.betas) // JUDGED_TIMESTEPS
        errors = [
            self._error(self._latents(image, random).repeat(JUDGED_TIMESTEPS, 1, 1, 1), levels, random)
            for image in images.split(1)
        ]
        return {"held_out_loss": float(torch.stack(errors).mean())}

    @torch.no_grad()
    def draw(self, images: Tensor, samples: int) -> dict[str, Tensor]:
        """Return `samples` pictures made of noise by the scheduler that the folder ships."""
        if not samples:
            return {}
        height, width = images.shape[2:]
        drawn = self._pipeline(
            "",
            height,
            width,
            num_inference_steps=SAMPLING_STEPS,
            guidance_scale=1.0,  # there is no text to be guided by
            num_images_per_prompt=samples,
            generator=torch.Generator().manual_seed(self.seed),
            output_type="pt",
        ).images
        return {"samples": _rows(drawn * 2 - 1)}

    @torch.no_grad()
    def _latents(self, images: Tensor, random: torch.Generator) -> Tensor:
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
            latents = self._autoencoder.encode(images).latent_dist.sample(random)
        return latents.float() * self._autoencoder.config["scaling_factor"]

    def _error(self, latents: Tensor, timesteps: Tensor, random: torch.Generator) -> Tensor:
        timesteps = timesteps.to(latents.device)
        noise = torch.randn(latents.shape, generator=random).to(latents.device)
        noisy = self._scheduler.add_noise(latents, noise, timesteps)
        with torch.autocast(latents.device.type, torch.bfloat16, enabled=self.half):
            predicted = self.network(noisy, timesteps, self._empty_text.expand(len(latents), -1, -1)).sample
        if self._scheduler.config["prediction_type"] == "v_prediction":
            return F.mse_loss(predicted.float(), self._scheduler.get_velocity(latents, noise, timesteps))
        return F.mse_loss(predicted.float(), noise)


def _rows(images: Tensor) -> Tensor:
    """Return `images` `(N, 3, H, W)` as two rows where that comes out even, else as one."""
    rows = 2 if len(images) % 2 == 0 and len(images) > 2 else 1
    return images.unflatten(0, (rows, -1))
