"""What teachers are: frozen networks that see images with weak and with strong noise (docs/method.md, section 2)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from querydiff_core.errors import QueryDiffError

Self = TypeVar("Self", bound=nn.Module)


class TeacherFeatures(NamedTuple):
    """Features of a batch of images, layer-normed over channels, float32, without gradient.

    Attributes:
        weak: `(B, h_j w_j, c_j)` of each feature j at the weak timestep t_w.
        strong: the same at the strong timestep t_s.
        sizes: `(h_j, w_j)`.
    """

    weak: list[Tensor]
    strong: list[Tensor]
    sizes: list[tuple[int, int]]


class FrozenTeacher(nn.Module):
    """Give features of images with weak and with strong noise (Eqs. 1 and 7).

    No parameter asks for a gradient; it stays in evaluation mode whatever `train` is told, and runs without autocast.

    Args:
        noise_schedule: abar_t of Eq. 1 for every timestep.
        weak_timestep: t_w; the paper finds 0 best (Table 5). At 0 no noise is added.
        strong_timestep: t_s; the paper finds 100 best.

    Attributes:
        channels: c_j of each feature.
        multiple: what the sides of images must be multiples of.

    Raises:
        QueryDiffError: for timesteps that the schedule does not have, or in the wrong order.
    """

    channels: tuple[int, ...]
    multiple: int

    def __init__(self, noise_schedule: Tensor, weak_timestep: int, strong_timestep: int) -> None:
        super().__init__()
        if not 0 <= weak_timestep <= strong_timestep < len(noise_schedule):
            raise QueryDiffError(
                f"The teacher's timesteps must be 0 <= weak <= strong <= {len(noise_schedule) - 1}, not "
                f"weak {weak_timestep} and strong {strong_timestep}."
            )
        self.timesteps = (weak_timestep, strong_timestep)
        self.abar = tuple(float(noise_schedule[t]) if t else 1.0 for t in self.timesteps)

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """Return the shape (channels, rows, columns) of what is noised, hence of the noise, of one image."""
        raise NotImplementedError

    def encode(self, images: Tensor) -> Tensor:
        """Return z_0 `(B, *latent_shape(H, W))`, float32, of RGB images in 0..1."""
        raise NotImplementedError

    def maps(self, z_t: Tensor) -> Sequence[Tensor]:
        """Return the feature maps `(2 B, c_j, h_j, w_j)` of what is noised, weak ones first."""
        raise NotImplementedError

    def train(self: Self, mode: bool = True) -> Self:
        """Stay in evaluation mode."""
        return nn.Module.train(self, False)

    @torch.no_grad()
    def forward(self, images: Tensor, noise: Tensor | None = None) -> TeacherFeatures:
        """Return the features of a batch at both timesteps, which share one draw of noise.

        Args:
            images: RGB in 0..1, `(B, 3, H, W)`, with sides that are multiples of `multiple`.
            noise: standard normal `(B, *latent_shape(H, W))`; drawn when absent.

        Raises:
            QueryDiffError: for sides that are not such multiples.
        """
        check_sides(images.shape[2:], self.multiple)
        with torch.autocast(images.device.type, enabled=False):
            z_0 = self.encode(images)
            # Not randn_like: it fills memory in order, so that the same seed would give other noise in other layouts.
            noise = torch.randn(z_0.shape, device=z_0.device) if noise is None else noise.to(z_0)
            maps = self.maps(torch.cat([abar**0.5 * z_0 + (1 - abar) ** 0.5 * noise for abar in self.abar]))  # Eq. 1
        weak, strong = zip(*(_layer_normed(each).chunk(2) for each in maps), strict=True)
        return TeacherFeatures(list(weak), list(strong), [(m.shape[2], m.shape[3]) for m in maps])


def check_sides(size: Sequence[int], multiple: int, setting: str = "the size of images") -> None:
    """Refuse a size (height, width) that a teacher's grids do not divide, and name the setting to change."""
    if any(side % multiple or side <= 0 for side in size):
        raise QueryDiffError(
            f"The teacher needs image sides that are multiples of {multiple}, not {size[0]}x{size[1]}: change "
            f"{setting}."
        )


def _layer_normed(feature: Tensor) -> Tensor:
    """Return a map `(B, c, h, w)` as `(B, h w, c)`, float32, layer-normed over channels."""
    pixels = feature.float().flatten(2).transpose(1, 2)  # (B, h w, c)
    return layer_norm(pixels, pixels.shape[-1:])
