"""One of the two networks to train: what its loss is, how it is judged and what it looks like."""

from __future__ import annotations

from typing import Protocol

import torch
from torch import Tensor, nn


class Stage(Protocol):
    """What the training run asks of a stage. Images are RGB in -1..1, `(B, 3, H, W)`.

    Attributes:
        name: "autoencoder" or "denoiser".
        number: sets the draws of the stages apart.
        steps: to train.
    """

    name: str
    number: int
    steps: int

    @property
    def network(self) -> nn.Module:
        """What is trained."""

    def losses(self, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of a batch; the one named "loss" is to be lowered. Everything random is of `random`."""

    def judge(self, images: Tensor) -> dict[str, float]:
        """Return scores on held-out images, the same draws each time."""

    def draw(self, images: Tensor, samples: int) -> dict[str, Tensor]:
        """Return pictures by name: rows of images in -1..1, each `(rows, columns, 3, H, W)`."""
