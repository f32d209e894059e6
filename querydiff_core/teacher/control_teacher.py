"""A teacher that is no diffusion model: it tells whether the mechanism can teach at all."""

from __future__ import annotations

from typing import Any

import torch
from diffusers.schedulers import DDPMScheduler
from torch import Tensor, nn

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.models.backbone import create_timm
from querydiff_core.models.lite_weights import PACKAGES
from querydiff_core.teacher.diffusion_teacher import TeacherFeatures, layer_normed

PREFIX = "control:"
# Stable Diffusion's noise, so that timesteps mean the same.
SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def is_control(source: str) -> bool:
    """Return whether a teacher's source names a control teacher."""
    return source.startswith(PREFIX)


class ControlTeacher(nn.Module):
    """Give ImageNet features of a clean image as weak ones, and of the same image under noise as strong ones.

    It stands behind the interface of `DiffusionTeacher` and is frozen as that is. Noise is added to the image itself
    (Eq. 1 with x for z_0), by Stable Diffusion's schedule.

    Args:
        network: gives maps of images in -1..1 at strides 16 and 32, the range that EfficientNet-Lite was trained in.
        channels: of these maps.
        weak_timestep, strong_timestep: t_w and t_s, of 1,000.

    Raises:
        QueryDiffError: for timesteps that are none, or in the wrong order.
    """

    multiple = 32
    """What the sides of images must be multiples of."""

    def __init__(
        self, network: nn.Module, channels: tuple[int, ...], weak_timestep: int = 0, strong_timestep: int = 100
    ) -> None:
        super().__init__()
        scheduler: Any = DDPMScheduler(**SCHEDULE)
        schedule: Tensor = scheduler.alphas_cumprod
        if not 0 <= weak_timestep <= strong_timestep < len(schedule):
            raise QueryDiffError(
                f"The teacher's timesteps must be 0 <= weak <= strong <= {len(schedule) - 1}, not "
                f"weak {weak_timestep} and strong {strong_timestep}."
            )
        self.network, self.channels = network, channels
        self.abar = tuple(float(schedule[t]) if t else 1.0 for t in (weak_timestep, strong_timestep))
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
        """Return the shape of the noise of one image."""
        return 3, height, width

    def train(self, mode: bool = True) -> ControlTeacher:
        """Stay in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def forward(self, images: Tensor, noise: Tensor | None = None) -> TeacherFeatures:
        """Return the features of a batch with weak and with strong noise.

        Args:
            images: RGB in 0..1, `(B, 3, H, W)`.
            noise: standard normal of the same shape; drawn when absent.
        """
        with torch.autocast(images.device.type, enabled=False):
            x_0 = 2 * images.float() - 1
            noise = torch.randn(x_0.shape, device=x_0.device) if noise is None else noise.to(x_0)
            maps = self.network(torch.cat([abar**0.5 * x_0 + (1 - abar) ** 0.5 * noise for abar in self.abar]))
        weak, strong = zip(*(layer_normed(feature).chunk(2) for feature in maps), strict=True)
        return TeacherFeatures(list(weak), list(strong), [(m.shape[2], m.shape[3]) for m in maps])
