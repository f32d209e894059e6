"""The first stage of a teacher: a KL autoencoder learns to write images as few numbers and to read them back."""

from __future__ import annotations

import torch
from diffusers.models import AutoencoderKL
from torch import Tensor

from querydiff_core.training.teacher_module import TeacherModule

KL_WEIGHT = 1e-4  # keeps latents near a normal distribution without a cost to the reconstruction that can be seen


class AutoencoderModule(TeacherModule):
    """L1 between image and reconstruction, plus a small KL divergence of the latents from a normal distribution.

    There is no perceptual and no adversarial loss: they need pretrained networks or patience. Fine texture is lost for
    it, which a teacher of layout can do without.
    """

    name = "autoencoder"
    number = 0
    network: AutoencoderKL

    def losses(self, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Return the loss and its two parts; `kl` is the mean over the numbers of the latents."""
        latents = self.network.encode(images).latent_dist
        reconstructions = self.network.decode(latents.sample(random)).sample
        l1 = (reconstructions.float() - images).abs().mean()
        kl = latents.kl().mean() / latents.mean[0].numel()
        return {"loss": l1 + KL_WEIGHT * kl, "l1": l1, "kl": kl}

    def on_validation_epoch_start(self) -> None:
        """Start with no image."""
        self._errors: list[Tensor] = []
        self._pairs: list[Tensor] = []

    def validation_step(self, batch: Tensor, _: int) -> None:
        """Reconstruct a held-out image."""
        reconstruction = self.network.decode(self.network.encode(batch).latent_dist.mode()).sample.float().clamp(-1, 1)
        self._errors.append((reconstruction - batch).square().mean())
        if len(self._pairs) < self.recipe.pictures.images:
            self._pairs.append(torch.cat([batch, reconstruction]))

    def on_validation_epoch_end(self) -> None:
        """Log the peak signal-to-noise ratio in dB of all reconstructions, and show some below their images."""
        error = torch.stack(self._errors).mean()
        self.log("held_out_psnr", 10 * torch.log10(4 / error), prog_bar=True)  # the range of -1..1 is 2, squared 4
        if self._pairs:
            self.pictures = {"reconstructions": (torch.stack(self._pairs, 1).flatten(0, 1), len(self._pairs))}


@torch.no_grad()
def set_scaling_factor(autoencoder: AutoencoderKL, images: Tensor) -> None:
    """Set the factor that gives the latents of `images` (RGB in -1..1, `(N, 3, H, W)`) a standard deviation of 1."""
    images = images.to(autoencoder.device)  # Lightning leaves what it has trained on the CPU
    random = torch.Generator().manual_seed(0)
    latents = [autoencoder.encode(image).latent_dist.sample(random) for image in images.split(1)]
    autoencoder.register_to_config(scaling_factor=1 / float(torch.cat(latents).std()))
