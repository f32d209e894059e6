"""From the camera's size to the network's and back, and from the masks' size to the network's."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F


def shrink(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pixels `(B, 3, h, w)`, float32 in 0..255, of uint8 RGB `images` `(B, H, W, 3)` resized to `size`."""
    pixels = images.permute(0, 3, 1, 2).float()  # (B, 3, H, W)
    return F.interpolate(pixels, size, mode="bilinear", antialias=True)


def bilinear_weights(large: int, small: int, like: Tensor) -> Tensor:
    """Return what each of `large` pixels takes of each of `small` pixels, centres aligned: `(large, small)`.

    Rows of maps times such a matrix are enlarged bilinearly, as by `F.interpolate`. It has the type of `like`.
    """
    places = torch.arange(large, device=like.device) + 0.5
    places = (places * (small / large) - 0.5).clamp(0, small - 1)
    distances = places[:, None] - torch.arange(small, device=like.device)
    return (1 - distances.abs()).clamp_min(0).to(like.dtype)


def enlarge(small: Tensor, size: tuple[int, int]) -> Tensor:
    """Return `small` `(B, h, w)` as uint8 `(B, *size)`, by nearest neighbour.

    Two look-ups of whole rows, the columns turned into rows for one of them: looking single pixels up takes a hundred
    times as long in ONNX Runtime, and so do the gathers that exporters make of `interpolate(mode="nearest-exact")`.
    """
    rows = nearest_indices(size[0], small.shape[1], small.device)
    columns = nearest_indices(size[1], small.shape[2], small.device)
    wide = small.to(torch.uint8).transpose(1, 2).index_select(1, columns).transpose(1, 2)  # (B, h, W)
    return wide.index_select(1, rows)


def nearest_indices(large: int, small: int, device: torch.device) -> Tensor:
    """Return for each of `large` pixels the index of the nearest of `small` pixels, centres aligned."""
    return ((2 * torch.arange(large, device=device) + 1) * small) // (2 * large)
