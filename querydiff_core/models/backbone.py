"""Backbones behind one interface: an image to four feature maps at strides 4, 8, 16 and 32."""

from collections.abc import Sequence
from typing import Any

import timm
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class Backbone(nn.Module):
    """What every backbone offers.

    Attributes:
        channels: of the four maps.
        strides: of the four maps: (4, 8, 16, 32).
        mean, std: normalisation the weights expect, for RGB in 0..1.
    """

    channels: tuple[int, ...]
    strides: tuple[int, ...] = (4, 8, 16, 32)
    mean: tuple[float, ...]
    std: tuple[float, ...]

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return maps `(B, channels[i], ceil(H / strides[i]), ceil(W / strides[i]))` of normalised `(B, 3, H, W)`."""
        raise NotImplementedError


class TimmPyramid(Backbone):
    """A timm network that is a pyramid by itself: ResNet, ConvNeXt, MobileNet and the like.

    Args:
        name: timm's name of it.
        pretrained: whether timm loads its weights.
        options: further arguments of `timm.create_model`.
    """

    def __init__(self, name: str, pretrained: bool = False, **options: Any) -> None:
        super().__init__()
        indices = (-4, -3, -2, -1)
        self.network = timm.create_model(
            name, features_only=True, out_indices=indices, pretrained=pretrained, **options
        )
        self.channels = tuple(self.network.feature_info.channels())
        self.strides = tuple(self.network.feature_info.reduction())
        self.mean, self.std = normalisation(self.network.pretrained_cfg)

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the network's four maps."""
        return self.network(images)


def normalisation(pretrained_config: dict[str, Any]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and standard deviation that timm recorded for a network, ImageNet's if it recorded none."""
    mean: Sequence[float] = pretrained_config.get("mean", IMAGENET_MEAN)
    std: Sequence[float] = pretrained_config.get("std", IMAGENET_STD)
    return tuple(mean), tuple(std)
