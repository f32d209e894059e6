"""Where a pixel is, as sines and cosines."""

import torch
from torch import Tensor


def sine_position_embedding(feature: Tensor, temperature: float = 10_000.0) -> Tensor:
    """Return the sines and cosines of a map's rows and columns, `(1, c, h, w)` for `(B, c, h, w)` (DETR's encoding).

    Half of the channels encode the row and half the column, both scaled to (0, 2 pi] whatever the size.
    """
    half = feature.shape[1] // 2
    exponents = torch.arange(0, half, 2, device=feature.device, dtype=torch.float32) / half
    rows, columns = (_waves(n, temperature**exponents) for n in feature.shape[-2:])  # (h, half), (w, half)
    rows, columns = rows.T[:, :, None], columns.T[:, None]
    both = torch.cat((rows.expand(-1, -1, columns.shape[2]), columns.expand(-1, rows.shape[1], -1)))
    return both[None].to(feature.dtype)


def _waves(length: int, wavelengths: Tensor) -> Tensor:
    steps = torch.arange(1, length + 1, device=wavelengths.device, dtype=torch.float32) / length
    angles = 2 * torch.pi * steps[:, None] / wavelengths
    return torch.stack((angles.sin(), angles.cos()), -1).flatten(1)
