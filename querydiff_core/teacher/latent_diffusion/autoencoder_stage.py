"""The first stage: a KL autoencoder learns to write images as few numbers and to read them back."""

from __future__ import annotations

import torch
from diffusers.models import AutoencoderKL
from torch import Tensor

KL_WEIGHT = 1e-4  # keeps latents near a normal distribution without a cost to the reconstruction that can be seen


class AutoencoderStage:
    """L1 between image and reconstruction, plus a small KL divergence of the latents from a normal distribution.

    There is no perceptual and no adversarial loss: they need pretrained networks or patience. Fine texture is lost for
    it, which a teacher of layout can do without.

    Args:
        network: the autoencoder.
        steps: to train.
        half: whether to compute in bf16.
    """

    name = "autoencoder"
    number = 0

    def __init__(self, network: AutoencoderKL, steps: int, *, half: bool = False) -> None:
        self.network = network
        self.steps = steps
        self.half = half

    def losses(self, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Return the loss and its two parts; `kl` is the mean over the numbers of the latents."""
        with torch.autocast(images.device.type, torch.bfloat16, enabled=self.half):
            latents = self.network.encode(images).latent_dist
            reconstructions = self.network.decode(latents.sample(random)).sample
        l1 = (reconstructions.float() - images).abs().mean()
        kl = latents.kl().mean() / latents.mean[0].numel()
        return {"loss": l1 + KL_WEIGHT * kl, "l1": l1, "kl": kl}

    @torch.no_grad()
    def judge(self, images: Tensor) -> dict[str, float]:
        """Return the peak signal-to-noise ratio of the reconstructions in dB, over all the images together."""
        error = torch.stack([(self._reconstruct(image) - image).square().mean() for image in images.split(1)])
        return {"held_out_psnr": float(10 * torch.log10(4 / error.mean()))}  # the range of -1..1 is 2, squared 4

    @torch.no_grad()
    def draw(self, images: Tensor, samples: int) -> dict[str, Tensor]:
        """Return up to 8 held-out images with their reconstructions below them."""
        shown = images[:8]
        return {"reconstructions": torch.stack([shown, torch.cat([self._reconstruct(i) for i in shown.split(1)])])}

    def _reconstruct(self, images: Tensor) -> Tensor:
        return self.network.decode(self.network.encode(images).latent_dist.mode()).sample.clamp(-1, 1)


@torch.no_grad()
def set_scaling_factor(autoencoder: AutoencoderKL, images: Tensor) -> None:
    """Set the factor that gives the latents of `images` (RGB in -1..1, `(N, 3, H, W)`) a standard deviation of 1."""
    random = torch.Generator().manual_seed(0)
    latents = [autoencoder.encode(image).latent_dist.sample(random) for image in images.split(1)]
    autoencoder.register_to_config(scaling_factor=1 / float(torch.cat(latents).std()))
