"""Segmentation loss: Hungarian matching, mask and class terms on every layer (docs/method.md, section 5, Eq. 13)."""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, cross_entropy, interpolate
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import (
    Mask2FormerHungarianMatcher,
    Mask2FormerLoss,
    sample_point,
)

from querydiff_core.label_space import UNLABELLED
from querydiff_core.models.querydiff import QueryDiffOutput
from querydiff_core.utils.distributed import mean_over_processes

# Share of a mask's cells at which it is compared: Mask2Former's 12,544 points for crops of 1,024.
POINT_SHARE = 12_544 / 256**2
# Class weight of queries that match nothing, Mask2Former's.
NO_OBJECT_WEIGHT = 0.1
# A mask logit that is certainly `not here`: softplus(-20) is 2e-9.
ABSENT = -20.0


class SegmentationLoss(nn.Module):
    """Compare a student's output with trainIds.

    Each class of an image is one mask to find. Pixels labelled 255 count for and against nothing: there the predicted
    masks are replaced by `certainly not here`, which agrees with every target mask (0 at such pixels), so matching,
    point sampling and losses see no error and pass no gradient. Images with no labelled pixel are left out.

    Sums are divided by the counts of the whole batch, over all processes that train together, and the points of a step
    are the same for every mask, so that the loss does not depend on how a batch is split over processes.

    Args:
        classes: number of classes, without `no object`.
        bce_weight, dice_weight, class_weight: lambdas of L_seg; Mask2Former's own, as the paper gives none.
        auxiliary_weight: of the auxiliary head's cross-entropy.
        points: points at which a mask is compared; None for Mask2Former's share of the mask's cells (3,136 for crops
            of 512). All r masks are matched with all targets at half of them, as that costs most.
    """

    def __init__(
        self,
        classes: int = 19,
        *,
        bce_weight: float = 5.0,
        dice_weight: float = 5.0,
        class_weight: float = 2.0,
        auxiliary_weight: float = 0.5,
        points: int | None = None,
    ) -> None:
        super().__init__()
        self.weights = (bce_weight, dice_weight, class_weight)
        self.auxiliary_weight = auxiliary_weight
        self.points = points
        config = Mask2FormerConfig(
            mask_weight=bce_weight,
            dice_weight=dice_weight,
            class_weight=class_weight,
            no_object_weight=NO_OBJECT_WEIGHT,
        )
        config.num_labels = classes
        # It only carries a weight dictionary along; the weights are applied here.
        self.criterion = _SamePoints(config, {})
        self.matcher = _SamePointsMatcher(class_weight, bce_weight, dice_weight)
        self.criterion.matcher = self.matcher

    def forward(self, output: QueryDiffOutput, labels: Tensor, seed: int | None = None) -> dict[str, Tensor]:
        """Return the terms `bce`, `dice`, `class` and, with an auxiliary head, `pixel`, and their weighted sum `loss`.

        The first three are sums over the decoder layers.

        Args:
            output: of the model in training mode.
            labels: trainIds `(B, H, W)`, 255 where unlabelled, of the images' size.
            seed: of the points; None draws other points each time.
        """
        seed = int(torch.randint(2**31, ())) if seed is None else seed
        self.criterion.seed = self.matcher.seed = seed
        self.criterion.num_points = self.points or max(2, round(POINT_SHARE * output.masks[-1][0, 0].numel()))
        self.matcher.num_points = self.criterion.num_points // 2
        masks, queries, pixels = self._share(output, labels)
        with torch.autocast(labels.device.type, enabled=False):  # bf16 is too coarse for costs that decide matches
            losses = self._layer_losses(output, labels)
        terms = {
            "bce": masks * _total(losses, "loss_mask"),
            "dice": masks * _total(losses, "loss_dice"),
            "class": queries * _total(losses, "loss_cross_entropy"),
        }
        loss = torch.stack([weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]).sum()
        if output.pixel_logits is not None:
            terms["pixel"] = pixels * _mean_pixel_loss(output.pixel_logits, labels)
            loss = loss + self.auxiliary_weight * terms["pixel"]
        return {"loss": loss, **terms}

    def _share(self, output: QueryDiffOutput, labels: Tensor) -> Tensor:
        """Return this process's count of masks, weighted queries and pixels, divided by the mean over processes."""
        labelled = labels != UNLABELLED
        masks = sum(int(label[here].unique().numel()) for label, here in zip(labels, labelled, strict=True))
        queries = int(labelled.flatten(1).any(1).sum()) * output.classes[-1].shape[1]
        weighted = masks + NO_OBJECT_WEIGHT * (queries - masks)
        counts = torch.tensor([masks, weighted, int(labelled.sum())], device=labels.device, dtype=torch.float64)
        return (counts / mean_over_processes(counts).clamp(min=1e-9)).float()

    def _layer_losses(self, output: QueryDiffOutput, labels: Tensor) -> dict[str, Tensor]:
        kept = (labels != UNLABELLED).flatten(1).any(1)
        if not kept.any():
            nothing = sum((part.sum() * 0.0 for part in (*output.masks, *output.classes)), labels.new_zeros(()))
            return {"loss_mask": nothing, "loss_dice": nothing, "loss_cross_entropy": nothing}
        labels = labels[kept]
        ignored = _shrink(labels == UNLABELLED, output.masks[-1])
        layers = [
            {
                "masks_queries_logits": mask_logits[kept].float().masked_fill(ignored, ABSENT),
                "class_queries_logits": class_logits[kept].float(),
            }
            for mask_logits, class_logits in zip(output.masks, output.classes, strict=True)
        ]
        classes = [label[label != UNLABELLED].unique() for label in labels]
        masks = [_halved(label == present[:, None, None]) for label, present in zip(labels, classes, strict=True)]
        ignored = interpolate(ignored.float(), masks[0].shape[-2:]) > 0
        masks = [mask.masked_fill(where, 0.0) for mask, where in zip(masks, ignored, strict=True)]
        targets = {"class_labels": classes, "mask_labels": masks}  # (present,) and (present, H/2, W/2) each
        return self.criterion(**layers[-1], **targets, auxiliary_predictions=layers[:-1])


class _SamePointsMatcher(Mask2FormerHungarianMatcher):
    """Match each image at the same points, so that a batch matches as its images would alone."""

    seed = 0

    def forward(self, *batch: Any, **named: Any) -> list[tuple[Tensor]]:
        """Match image after image, from the same state of the random numbers."""
        sequences = [*batch, *named.values()]
        devices = [sequences[0].device] if sequences[0].is_cuda else []
        matched = []
        for image in range(len(sequences[0])):
            with torch.random.fork_rng(devices):
                torch.manual_seed(self.seed)
                matched += super().forward(*(sequence[image : image + 1] for sequence in sequences))
        return matched


class _SamePoints(Mask2FormerLoss):
    """Compare every mask at points drawn from the same candidates."""

    seed = 0

    def sample_points_using_uncertainty(  # type: ignore[no-untyped-def]
        self, logits: Tensor, uncertainty_function, num_points, oversample_ratio, importance_sample_ratio
    ) -> Tensor:
        """Return `(masks, points, 2)`: where each mask is least certain, and some that all masks share."""
        generator = torch.Generator(logits.device).manual_seed(self.seed)
        candidates = torch.rand(int(num_points * oversample_ratio), 2, generator=generator, device=logits.device)
        everywhere = candidates.expand(len(logits), -1, -1)
        uncertainty = uncertainty_function(sample_point(logits, everywhere, align_corners=False))[:, 0]
        uncertain = int(importance_sample_ratio * num_points)
        chosen = candidates[uncertainty.topk(uncertain, dim=1).indices]  # (masks, uncertain, 2)
        shared = torch.rand(num_points - uncertain, 2, generator=generator, device=logits.device)
        return torch.cat([chosen, shared.expand(len(logits), -1, -1)], 1)


def pixel_loss(pixel_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of `pixel_logits (B, classes, h, w)`, enlarged to `labels (B, H, W)`, 255 ignored.

    The mean is over the labelled pixels of all processes that train together, 0 where no pixel is labelled.
    """
    count = (labels != UNLABELLED).sum().double()
    share = count / mean_over_processes(count).clamp(min=1e-9)
    return share.float() * _mean_pixel_loss(pixel_logits, labels)


def _mean_pixel_loss(pixel_logits: Tensor, labels: Tensor) -> Tensor:
    # With the classes last, which on a CPU takes half of the time.
    logits = pixel_logits.float().contiguous(memory_format=torch.channels_last)
    logits = interpolate(logits, labels.shape[-2:], mode="bilinear", align_corners=False).permute(0, 2, 3, 1)
    total = cross_entropy(logits.flatten(0, 2), labels.flatten(), ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def _halved(masks: Tensor) -> Tensor:
    """Return `masks (n, H, W)` at half scale, each cell its share: still twice as fine as what is compared with it."""
    return avg_pool2d(masks.float(), 2, ceil_mode=True, count_include_pad=False)


def _shrink(mask: Tensor, like: Tensor) -> Tensor:
    """Return `(B, 1, h, w)` of the size of `like`: whether most of each cell of `mask (B, H, W)` is set."""
    return interpolate(mask[:, None].float(), like.shape[-2:], mode="area") > 0.5


def _total(losses: dict[str, Tensor], name: str) -> Tensor:
    return torch.stack([loss for key, loss in losses.items() if key.startswith(name)]).sum()
