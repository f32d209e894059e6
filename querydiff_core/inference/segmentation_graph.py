"""The graph that is exported: uint8 RGB at the camera's size in, uint8 labels and confidence out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from querydiff_core.inference.resizing import bilinear_weights, enlarge, shrink
from querydiff_core.models.querydiff import QueryDiff, QueryDiffOutput, semantic_probabilities

FAINTEST = -15.0
"""Mask logits are taken as this at least (a probability of 3e-7): the tails of runtimes' sigmoids differ by orders of
magnitude, which would decide the label where no query claims a pixel; ONNX Runtime's ends at -18."""


class SegmentationGraph(nn.Module):
    """Wrap a student with everything between the camera and the label image.

    Class probabilities are up-sampled to the network's own `size` (height, width), where the arg-max is taken; only
    the two uint8 results are enlarged to the camera's size (nearest), so that a 19-channel tensor at the camera's
    size never exists.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, model: QueryDiff, size: tuple[int, int]) -> None:
        super().__init__()
        self.model = model.eval()
        self.size = size
        self.register_buffer("mean", 255.0 * torch.tensor(model.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255.0 * torch.tensor(model.std).view(1, 3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels and confidence, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""
        labels, certain = self.label(shrink(images, self.size))
        size = (images.shape[1], images.shape[2])
        return enlarge(labels, size), enlarge(certain, size)

    def label(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Return labels (int64) and confidence (whole numbers 0..255) `(B, h, w)` of `pixels` `(B, 3, h, w)`, 0..255.

        All that depends on the weights, at the network's own size: what TensorRT is given.
        """
        return self.decide(self.scores((pixels - self.mean) / self.std))

    def decide(self, scores: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels and the confidence of class scores, as `label` does."""
        # Enlarged by products with constant matrices: runtimes multiply faster than they resize (docs/benchmarks.md).
        sizes = zip(self.size, scores.shape[2:], strict=True)
        rows, columns = (bilinear_weights(large, small, scores) for large, small in sizes)
        claimed = rows @ (scores.sum(1) @ columns.T)  # (B, h, w): that any query claims the pixel
        scores = rows @ (scores @ columns.T)  # (B, 19, h, w)
        best, labels = scores.amax(1), scores.argmax(1)  # TensorRT has no max with both
        certain = 255.0 * best / claimed.clamp_min(1e-6)
        return labels, certain.clamp_max(255.0).round()  # bf16 comes to 256, which would be 0 as uint8

    def scores(self, images: Tensor) -> Tensor:
        """Return class scores `(B, 19, h / 4, w / 4)`, not negative, of normalised images `(B, 3, h, w)`."""
        return semantic_probabilities(self.output(images))

    def output(self, images: Tensor) -> QueryDiffOutput:
        """Return what the student says of normalised images `(B, 3, h, w)`, without the faintest of its masks."""
        output: QueryDiffOutput = self.model(images)
        return output._replace(masks=[output.masks[-1].clamp_min(FAINTEST)])


class LabelsOnly(nn.Module):
    """Leave the confidence out; whatever computes nothing else falls out of the exported graph."""

    def __init__(self, graph: nn.Module) -> None:
        super().__init__()
        self.segment = graph  # `graph` is what a traced module calls its own

    def forward(self, images: Tensor) -> Tensor:
        """Return labels, uint8 `(B, H, W)`, of uint8 RGB `images` `(B, H, W, 3)`."""
        labels: Tensor = self.segment(images)[0]
        return labels
