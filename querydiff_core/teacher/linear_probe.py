"""What frozen features know of the classes: a linear probe on labelled cells."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy, interpolate

from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import UNLABELLED
from querydiff_core.utils.iou import class_counts, class_iou, mean_iou

CELL = 16
"""Side in pixels of the network's input that a cell takes; its label is that of most of its pixels."""
PURE = 0.5
"""Share of a cell that its label must take."""
STEPS, RATE, DECAY = 150, 0.05, 1e-3
MOST_IMAGES = 200

Maps = Callable[[Tensor], Sequence[Tensor]]
"""Images RGB in 0..1 `(1, 3, h, w)` to feature maps `(1, c_j, h_j, w_j)`."""


@dataclass(frozen=True)
class ProbeScore:
    """How a linear probe did on the images that it was not fitted to.

    Attributes:
        right: share of the cells that got their class, 0 to 1.
        miou: mean IoU over the classes that these cells have, 0 to 1.
        cells: number of them.
    """

    right: float
    miou: float
    cells: int


def labelled_cells(pairs: LabelledPairs, size: tuple[int, int]) -> tuple[list[Tensor], list[Tensor]]:
    """Return images RGB in 0..1 `(1, 3, h, w)` resized to `size` and their cells' trainIds int64 `(cells,)`.

    At most 200 images, evenly spread; cells without a label of more than half of their pixels are 255.

    Raises:
        QueryDiffError: for a set without labels, without any labelled cell in one of its halves, or of one image.
    """
    if not pairs.labelled:
        raise QueryDiffError(f"{pairs.root} has no labels: a probe needs them, so give data that has.")
    if len(pairs) < 2:
        raise QueryDiffError(f"{pairs.root} has one image: a probe is fitted to one half and tried on the other.")
    chosen = np.unique(np.linspace(0, len(pairs) - 1, min(len(pairs), MOST_IMAGES)).round().astype(int))
    images, labels = [], []
    for index in chosen:
        image, found, _ = pairs[int(index)]
        pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
        images.append((interpolate(pixels, size, mode="bilinear", antialias=True) / 255).clamp(0, 1))
        assert found is not None
        labels.append(_cell_labels(torch.from_numpy(pairs.mapping.score_table[found]), size))
    half = len(images) // 2
    if any(bool((torch.cat(part) == UNLABELLED).all()) for part in (labels[:half], labels[half:])):
        raise QueryDiffError(
            f"{pairs.root} has images without any labelled cell in one of its halves: give other data."
        )
    return images, labels


def probe(maps: Maps, images: Sequence[Tensor], labels: Sequence[Tensor], device: str = "cpu") -> ProbeScore:
    """Fit softmax regression on the cells of the first half of the images, and score it on those of the second.

    Features are enlarged to the cells' grid, concatenated and standardised; the order of the images is that of the
    data, so that the halves of a drive are different streets.
    """
    cells = [_cell_features(maps(image.to(device)), image.shape[-2:]).cpu() for image in images]
    half = len(images) // 2
    (x, y), (x_new, y_new) = (
        _kept(torch.cat(cells[part]), torch.cat(list(labels[part]))) for part in (slice(half), slice(half, None))
    )
    mean, std = x.mean(0), x.std(0) + 1e-6
    predicted = _fitted((x - mean) / std, y, (x_new - mean) / std)
    return _score(predicted, y_new)


def _fitted(x: Tensor, y: Tensor, x_new: Tensor) -> Tensor:
    """Return the classes that softmax regression on `x (n, c)`, `y (n,)` predicts for `x_new`."""
    weight = torch.zeros(x.shape[1], int(y.max()) + 1, requires_grad=True)
    bias = torch.zeros(weight.shape[1], requires_grad=True)
    optimizer = torch.optim.Adam([weight, bias], RATE)
    schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.01, STEPS)
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = cross_entropy(x @ weight + bias, y) + DECAY * weight.square().sum()
        loss.backward()
        optimizer.step()
        schedule.step()
    return (x_new @ weight + bias).argmax(1)


def _score(predicted: Tensor, expected: Tensor) -> ProbeScore:
    classes = int(max(predicted.max(), expected.max())) + 1
    none = classes + 1  # columns: the last is "no class", which a probe does not know
    confusion = torch.bincount(expected * none + predicted, minlength=classes * none).view(classes, none).numpy()
    miou = mean_iou(class_iou(*class_counts(confusion)))
    assert miou is not None
    return ProbeScore(float(np.trace(confusion) / confusion.sum()), miou, len(expected))


def _kept(cells: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    labelled = labels != UNLABELLED
    return cells[labelled].float(), labels[labelled]


@torch.no_grad()
def _cell_features(maps: Sequence[Tensor], size: Sequence[int]) -> Tensor:
    grid = [side // CELL for side in size]
    each = [interpolate(m.float(), grid, mode="area" if m.shape[2] > grid[0] else "bilinear") for m in maps]
    return torch.cat(each, 1)[0].flatten(1).T  # (cells, c)


def _cell_labels(labels: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the label that takes more than half of each cell, 255 where none does, of score-class indices `(H, W)`."""
    grid = [side // CELL for side in size]
    present = labels.unique()
    present = present[present != UNLABELLED].long()
    if not len(present):
        return torch.full((grid[0] * grid[1],), UNLABELLED)
    shares = interpolate((labels == present[:, None, None])[None].float(), grid, mode="area")[0]
    best, index = shares.flatten(1).max(0)
    return torch.where(best > PURE, present[index], UNLABELLED)
