"""Training augmentation: scale, crop, flip and photometric distortion, on images and labels together."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import pad
from torchvision import tv_tensors
from torchvision.transforms import InterpolationMode, v2

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import UNLABELLED

# DAFormer's: a crop drawn for a rare class is drawn again until that class has this share of it, at most so often.
RARE_CLASS_CROP_SHARE = 0.01
MOST_DRAWS = 10
HUE = 0.05
"""Largest shift of the hue, as a share of the circle; half of mmsegmentation's."""


class TrainingTransform(nn.Module):
    """Cut a random crop and distort its colours.

    How large a crop is in the source is said in one of two ways: by `short_side`, which first resizes the image, as
    the papers do, or by `scale`, in pixels of the source, whatever its size.

    Args:
        crop: (height, width) of what the network sees in training, in pixels.
        short_side: range of the length that the image's short side is resized to before the crop is cut, in pixels;
            (256, 1024) is the paper's for crops of 512. Where the image is then smaller than the crop, the rest is
            black and unlabelled. None crops by `scale`.
        scale: range of the share of `crop`'s side that one crop side takes in the source: 0.5 zooms in twice. Crops
            stay inside the image.
        aspect: range of the stretch of height against width, since deployment squeezes any camera into one size;
            (1, 1) keeps it.
        photometric: strength of the colour distortion; 0 leaves colours alone, 1 is the usual.
        corruption: probability of what bad light, lenses, sensors and encoders do to a picture, one of: another gamma,
            a colour cast, stretched or equalised contrast, few shades, noise, blur, low resolution, strong JPEG.
        hue: largest shift of the hue at strength 1, as a share of the circle.
        cat_max_ratio: largest share of a crop's labelled pixels that one class may take, or the crop is drawn again, at
            most ten times; None takes any.
    """

    def __init__(
        self,
        crop: tuple[int, int] = (512, 512),
        short_side: tuple[int, int] | None = None,
        scale: tuple[float, float] = (0.5, 2.0),
        aspect: tuple[float, float] = (0.75, 1.33),
        photometric: float = 1.0,
        corruption: float = 0.0,
        *,
        hue: float = HUE,
        cat_max_ratio: float | None = None,
    ) -> None:
        super().__init__()
        for name, (least, most) in {"short_side": short_side or (1, 1), "scale": scale, "aspect": aspect}.items():
            if not 0 < least <= most:
                raise QueryDiffError(f"data.{name} must be a range above 0, found {least} to {most}.")
        self.crop, self.short_side, self.scale, self.aspect = tuple(crop), short_side, scale, aspect
        if not 0 <= hue <= 0.5:
            raise QueryDiffError(f"data.hue must be 0 to 0.5, a share of the circle, found {hue}.")
        if cat_max_ratio is not None and not 0 < cat_max_ratio <= 1:
            raise QueryDiffError(f"data.cat_max_ratio must be above 0 and at most 1, found {cat_max_ratio}.")
        self.cat_max_ratio = cat_max_ratio
        self.distort = v2.Compose(
            [_distortion(photometric, hue * photometric), v2.RandomApply([_corruption()], corruption)]
        )

    def forward(self, image: Tensor, labels: Tensor, rare_class: int | None = None) -> tuple[Tensor, Tensor]:
        """Return a crop of `image` uint8 `(3, H, W)` and of `labels` uint8 `(H, W)`, both at `crop` size.

        `rare_class`: a trainId that the crop should hold.
        """
        window = self._window(labels, rare_class)
        image, labels = self._cut(image, labels, window)
        if torch.rand(()) < 0.5:
            image, labels = v2.functional.horizontal_flip(image), v2.functional.horizontal_flip(labels)
        return self.distort(image).as_subclass(Tensor), labels.as_subclass(Tensor)

    def _window(self, labels: Tensor, rare_class: int | None) -> tuple[int, int, int, int]:
        """Draw a window (top, left, height, width), again while it lacks the rare class or has too much of one."""
        window = self._draw_window(*labels.shape)
        if rare_class is None and self.cat_max_ratio is None:
            return window
        for _ in range(MOST_DRAWS - 1):
            top, left, rows, columns = window
            if self._accepted(labels[top : top + rows, left : left + columns], rare_class):
                break
            window = self._draw_window(*labels.shape)
        return window

    def _accepted(self, inside: Tensor, rare_class: int | None) -> bool:
        if rare_class is not None and (inside == rare_class).float().mean() < RARE_CLASS_CROP_SHARE:
            return False
        if self.cat_max_ratio is None:
            return True
        pixels = torch.bincount(inside.flatten(), minlength=UNLABELLED + 1)[:UNLABELLED]
        return int((pixels > 0).sum()) > 1 and float(pixels.max() / pixels.sum()) < self.cat_max_ratio

    def _draw_window(self, height: int, width: int) -> tuple[int, int, int, int]:
        stretch = _uniform(*self.aspect) ** 0.5
        if self.short_side is None:
            side = _uniform(*self.scale)
            rows, columns = round(self.crop[0] * side * stretch), round(self.crop[1] * side / stretch)
            rows, columns = max(16, min(rows, height)), max(16, min(columns, width))
        else:
            side = min(height, width) / _uniform(*self.short_side)
            rows, columns = round(self.crop[0] * side * stretch), round(self.crop[1] * side / stretch)
        top = int(torch.randint(0, max(0, height - rows) + 1, ()))
        left = int(torch.randint(0, max(0, width - columns) + 1, ()))
        return top, left, rows, columns

    def _cut(self, image: Tensor, labels: Tensor, window: tuple[int, int, int, int]) -> tuple[Tensor, Tensor]:
        """Cut the window and resize it to `crop`; what lies outside the image is black and unlabelled."""
        top, left, rows, columns = window
        image, labels = (t[..., top : top + rows, left : left + columns] for t in (image, labels))
        below, right = rows - labels.shape[0], columns - labels.shape[1]
        if below or right:
            image, labels = pad(image, (0, right, 0, below)), pad(labels, (0, right, 0, below), value=UNLABELLED)
        size = list(self.crop)
        return (
            v2.functional.resize(tv_tensors.Image(image), size, InterpolationMode.BILINEAR, antialias=True),
            v2.functional.resize(tv_tensors.Mask(labels), size, InterpolationMode.NEAREST_EXACT),
        )


def _distortion(strength: float, hue: float) -> nn.Module:
    if strength == 0:
        return nn.Identity()
    low, high = max(0.0, 1 - 0.5 * strength), 1 + 0.5 * strength
    return v2.Compose(
        [
            v2.RandomApply([v2.ColorJitter(brightness=(low, high))], 0.5),
            v2.RandomApply([v2.ColorJitter(contrast=(low, high))], 0.5),
            v2.RandomApply([v2.ColorJitter(saturation=(low, high))], 0.5),
            v2.RandomApply([v2.ColorJitter(hue=(-hue, hue))], 0.5),
            v2.RandomGrayscale(0.05 * strength),
            v2.RandomApply([v2.GaussianBlur(5, (0.1, 1.5))], 0.15 * strength),
        ]
    )


def _corruption() -> nn.Module:
    as_float, as_bytes = v2.ToDtype(torch.float32, scale=True), v2.ToDtype(torch.uint8, scale=True)
    return v2.RandomChoice(
        [
            v2.Lambda(_other_gamma),
            v2.Lambda(_colour_cast),
            v2.RandomAutocontrast(1.0),
            v2.RandomEqualize(1.0),
            v2.RandomPosterize(4, 1.0),
            v2.Compose([as_float, v2.GaussianNoise(sigma=0.05), as_bytes]),
            v2.GaussianBlur(7, (1.0, 2.5)),
            v2.Lambda(_low_resolution),
            v2.JPEG((10, 50)),
        ]
    )


def _other_gamma(image: Tensor) -> Tensor:
    return v2.functional.adjust_gamma(image, 2 ** _uniform(-1.0, 1.0))


def _colour_cast(image: Tensor) -> Tensor:
    gains = torch.empty(3, 1, 1).uniform_(0.75, 1.25)
    return (image.float() * gains).clamp(0, 255).to(torch.uint8)


def _low_resolution(image: Tensor) -> Tensor:
    size = list(image.shape[-2:])
    coarse = [max(1, round(side * _uniform(0.3, 0.7))) for side in size]
    return v2.functional.resize(v2.functional.resize(image, coarse, antialias=True), size)


def _uniform(low: float, high: float) -> float:
    return low + (high - low) * float(torch.rand(()))
