"""Images of a network as one picture."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

GAP = 4  # white pixels between the images


def picture_grid(images: Tensor) -> np.ndarray:
    """Return `images` `(rows, columns, 3, H, W)` in -1..1 as one uint8 RGB picture."""
    pixels = ((images.float().cpu().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    framed = torch.nn.functional.pad(pixels, (0, GAP, 0, GAP), value=255)
    rows, columns, _, height, width = framed.shape
    grid = framed.permute(0, 3, 1, 4, 2).reshape(rows * height, columns * width, 3)  # (rows, H, columns, W, 3)
    picture: np.ndarray = grid[:-GAP, :-GAP].numpy()
    return picture
