"""The second stage of a teacher: a UNet learns to find the noise in noisy latents."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.models import UNet2DConditionModel
from torch import Tensor
from torch.nn import functional as F

from querydiff_core.teacher.latent_diffusion.recipe import Recipe
from querydiff_core.training.teacher_module import TeacherModule

SAMPLING_STEPS = 50
SHOWN_DEVIATIONS = 3  # of a latent, between the darkest and the middle colour
JUDGED_TIMESTEPS = 8  # a held-out image is judged at as many timesteps, evenly spaced


class DenoiserModule(TeacherModule):
    """The mean squared error of the predicted noise (or velocity) of latents at random timesteps.

    Args:
        pipeline: diffusers' StableDiffusionPipeline; its `unet` is trained, its autoencoder, text encoder and
            scheduler stay as they are.
        recipe: of the run.
    """

    name = "denoiser"
    number = 1
    network: UNet2DConditionModel

    def __init__(self, pipeline: Any, recipe: Recipe) -> None:
        super().__init__(pipeline.unet, recipe)
        self._pipeline = pipeline  # no module of PyTorch's, hence its frozen parts are no part of this one
        with torch.no_grad():
            self._empty_text, _ = pipeline.encode_prompt("", pipeline.device, 1, do_classifier_free_guidance=False)

    def losses(self, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Return the loss."""
        latents = self._latents(images, random)
        timesteps = torch.randint(self._timesteps, (len(images),), generator=random)
        return {"loss": self._error(latents, timesteps, random)}

    def on_validation_epoch_start(self) -> None:
        """Use the same noise in every validation."""
        self._random = torch.Generator().manual_seed(self.recipe.seed_everything)

    def validation_step(self, batch: Tensor, index: int) -> None:
        """Log the loss of a held-out image at evenly spaced timesteps; with the first image, draw samples too."""
        levels = torch.arange(JUDGED_TIMESTEPS) * self._timesteps // JUDGED_TIMESTEPS
        latents = self._latents(batch, self._random).repeat(JUDGED_TIMESTEPS, 1, 1, 1)
        self.log("held_out_loss", self._error(latents, levels, self._random), prog_bar=True, batch_size=1)
        if index == 0 and (samples := self.recipe.pictures.images):
            rows = 2 if samples % 2 == 0 and samples > 2 else 1
            self.pictures = {"samples": (self._sample(samples, *batch.shape[2:]), samples // rows)}

    @property
    def _timesteps(self) -> int:
        return len(self._pipeline.scheduler.betas)

    def _sample(self, samples: int, height: int, width: int) -> Tensor:
        """Return images in -1..1, made of noise by the scheduler that the folder ships.

        Of ImageNet latents, which nothing decodes, the first three components stand for red, green and blue.
        """
        decoded = self.recipe.latents == "autoencoder"
        images: Tensor = self._pipeline(
            "",
            height,
            width,
            num_inference_steps=SAMPLING_STEPS,
            guidance_scale=1.0,  # there is no text to be guided by
            num_images_per_prompt=samples,
            generator=torch.Generator().manual_seed(self.recipe.seed_everything),
            output_type="pt" if decoded else "latent",
        ).images
        return images * 2 - 1 if decoded else F.interpolate(images[:, :3] / SHOWN_DEVIATIONS, (height, width))

    @torch.no_grad()
    def _latents(self, images: Tensor, random: torch.Generator) -> Tensor:
        autoencoder = self._pipeline.vae
        latents: Tensor = autoencoder.encode(images).latent_dist.sample(random)
        return latents.float() * autoencoder.config["scaling_factor"]

    def _error(self, latents: Tensor, timesteps: Tensor, random: torch.Generator) -> Tensor:
        scheduler, timesteps = self._pipeline.scheduler, timesteps.to(latents.device)
        noise = torch.randn(latents.shape, generator=random).to(latents.device)
        noisy = scheduler.add_noise(latents, noise, timesteps)
        predicted = self.network(noisy, timesteps, self._empty_text.expand(len(latents), -1, -1)).sample
        if scheduler.config["prediction_type"] == "v_prediction":
            noise = scheduler.get_velocity(latents, noise, timesteps)
        return F.mse_loss(predicted.float(), noise)
