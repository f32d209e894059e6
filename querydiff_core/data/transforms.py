"""Training augmentation: scale, crop, flip and photometric distortion, on images and labels together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2


class TrainingTransform(nn.Module):
    """Cut a random crop and distort its colours.

    Args:
        crop: (height, width) of what the network sees in training, in pixels.
        scale: range of the share of `crop`'s side that one crop side takes in the source: 0.5 zooms in twice.
        aspect: range of the stretch of height against width, since deployment squeezes any camera into one size.
        photometric: strength of the colour distortion; 0 leaves colours alone, 1 is the usual.
    """

    def __init__(
        self,
        crop: tuple[int, int] = (512, 512),
        scale: tuple[float, float] = (0.5, 2.0),
        aspect: tuple[float, float] = (0.75, 1.33),
        photometric: float = 1.0,
    ) -> None:
        super().__init__()
        self.crop, self.scale, self.aspect = crop, scale, aspect
        self.distort = _distortion(photometric)

    def forward(self, image: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Return a crop of `image` uint8 `(3, H, W)` and of `labels` uint8 `(H, W)`, both at `crop` size."""
        window, size = self._window(*labels.shape), list(self.crop)
        image = v2.functional.resized_crop(
            tv_tensors.Image(image), *window, size, InterpolationMode.BILINEAR, antialias=True
        )
        labels = v2.functional.resized_crop(tv_tensors.Mask(labels), *window, size, InterpolationMode.NEAREST_EXACT)
        if torch.rand(()) < 0.5:
            image, labels = v2.functional.horizontal_flip(image), v2.functional.horizontal_flip(labels)
        return self.distort(image).as_subclass(Tensor), labels.as_subclass(Tensor)

    def _window(self, height: int, width: int) -> tuple[int, int, int, int]:
        """Draw a window (top, left, height, width) inside the image."""
        side = _uniform(*self.scale)
        stretch = _uniform(*self.aspect) ** 0.5
        rows, columns = round(self.crop[0] * side * stretch), round(self.crop[1] * side / stretch)
        rows, columns = max(16, min(rows, height)), max(16, min(columns, width))
        top = int(torch.randint(0, height - rows + 1, ()))
        left = int(torch.randint(0, width - columns + 1, ()))
        return top, left, rows, columns


def _distortion(strength: float) -> nn.Module:
    if strength == 0:
        return nn.Identity()
    low, high = max(0.0, 1 - 0.5 * strength), 1 + 0.5 * strength
    return v2.Compose(
        [
            v2.RandomPhotometricDistort(
                (low, high), (low, high), (low, high), (-0.05 * strength, 0.05 * strength), 0.5
            ),
            v2.RandomGrayscale(0.05 * strength),
            v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], 0.15 * strength),
        ]
    )


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
