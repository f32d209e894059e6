"""A teacher that is no diffusion model: it tells whether the mechanism can teach at all."""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.models.backbone import create_timm
from querydiff_core.models.lite_weights import PACKAGES
from querydiff_core.teacher.frozen_teacher import FrozenTeacher
from querydiff_core.teacher.latent_diffusion.networks import new_scheduler

PREFIX = "control:"


def is_control(source: str) -> bool:
    """Return whether a teacher's source names a control teacher."""
    return source.startswith(PREFIX)


class ControlTeacher(FrozenTeacher):
    """Give ImageNet features of a clean image as weak ones, and of the same image under noise as strong ones.

    Noise is added to the image itself (Eq. 1 with x for z_0), by Stable Diffusion's schedule, so that timesteps mean
    the same.

    Args:
        network: gives maps of images in -1..1 at strides 16 and 32, the range that EfficientNet-Lite was trained in.
        channels: of these maps.
        weak_timestep, strong_timestep: of `FrozenTeacher`, of 1,000.
    """

    multiple = 32

    def __init__(
        self, network: nn.Module, channels: tuple[int, ...], weak_timestep: int = 0, strong_timestep: int = 100
    ) -> None:
        schedule: Any = new_scheduler("epsilon")
        super().__init__(schedule.alphas_cumprod, weak_timestep, strong_timestep)
        self.network, self.channels = network, channels
        self.requires_grad_(False).eval()

    @classmethod
    def load(
        cls, source: str, weak_timestep: int = 0, strong_timestep: int = 100, *, pretrained: bool = True
    ) -> ControlTeacher:
        """Return the control teacher of a source such as `control:tf_efficientnet_lite0`.

        Raises:
            QueryDiffError: if it names another network, or the package of its weights is missing.
        """
        name = source.removeprefix(PREFIX)
        if name not in PACKAGES:
            raise QueryDiffError(f"A control teacher is one of {PREFIX}{f', {PREFIX}'.join(PACKAGES)}; found {source}.")
        with explained(f"Teacher {source} has no weights: {{reason}}.", QueryDiffError):
            network: Any = create_timm(name, pretrained, {}, features_only=True, out_indices=(-2, -1))
        return cls(network, tuple(network.feature_info.channels()), weak_timestep, strong_timestep)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape of an image."""
        return 3, height, width

    def encode(self, images: Tensor) -> Tensor:
        """Return RGB images in 0..1 in the range of the network."""
        return 2 * images.float() - 1

    def maps(self, z_t: Tensor) -> list[Tensor]:
        """Return the network's maps of noised images."""
        found: list[Tensor] = self.network(z_t)
        return found
