"""Segmentation loss: Hungarian matching, mask and class terms on every layer (docs/method.md, section 5, Eq. 13)."""

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, interpolate
from transformers import Mask2FormerConfig
from transformers.models.mask2former.modeling_mask2former import Mask2FormerLoss

from querydiff_core.label_space import UNLABELLED
from querydiff_core.models.querydiff import QueryDiffOutput

# A mask logit that is certainly `not here`: softplus(-20) is 2e-9.
ABSENT = -20.0


class SegmentationLoss(nn.Module):
    """Compare a student's output with trainIds.

    Each class of an image is one mask to find. Pixels labelled 255 count for and against nothing: there the predicted
    masks are replaced by `certainly not here`, which agrees with every target mask (0 at such pixels), so matching,
    point sampling and losses see no error and pass no gradient. Images with no labelled pixel are left out.

    Args:
        classes: number of classes, without `no object`.
        bce_weight, dice_weight, class_weight: lambdas of L_seg; Mask2Former's own, as the paper gives none.
        no_object_weight: class weight of queries that match nothing.
        auxiliary_weight: of the auxiliary head's cross-entropy.
        points: points at which a mask is compared; Mask2Former takes 12,544 for its larger crops, on GPUs.
        matching_points: points at which all r masks are compared with all targets, the costly part on a CPU.
    """

    def __init__(
        self,
        classes: int = 19,
        *,
        bce_weight: float = 5.0,
        dice_weight: float = 5.0,
        class_weight: float = 2.0,
        no_object_weight: float = 0.1,
        auxiliary_weight: float = 1.0,
        points: int = 4096,
        matching_points: int = 2048,
    ) -> None:
        super().__init__()
        self.weights = (bce_weight, dice_weight, class_weight)
        self.auxiliary_weight = auxiliary_weight
        config = Mask2FormerConfig(
            mask_weight=bce_weight,
            dice_weight=dice_weight,
            class_weight=class_weight,
            no_object_weight=no_object_weight,
            train_num_points=points,
        )
        config.num_labels = classes
        # It only carries a weight dictionary along; the weights are applied here.
        self.criterion = Mask2FormerLoss(config, {})
        self.criterion.matcher.num_points = matching_points

    def forward(self, output: QueryDiffOutput, labels: Tensor) -> dict[str, Tensor]:
        """Return the terms `bce`, `dice`, `class` and, with an auxiliary head, `pixel`, and their weighted sum `loss`.

        The first three are sums over the decoder layers.

        Args:
            output: of the model in training mode.
            labels: trainIds `(B, H, W)`, 255 where unlabelled, of the images' size.
        """
        losses = self._layer_losses(output, labels)
        terms = {
            "bce": _total(losses, "loss_mask"),
            "dice": _total(losses, "loss_dice"),
            "class": _total(losses, "loss_cross_entropy"),
        }
        loss = torch.stack([weight * term for weight, term in zip(self.weights, terms.values(), strict=True)]).sum()
        if output.pixel_logits is not None:
            terms["pixel"] = pixel_loss(output.pixel_logits, labels)
            loss = loss + self.auxiliary_weight * terms["pixel"]
        return {"loss": loss, **terms}

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
        masks = [(label == present[:, None, None]).float() for label, present in zip(labels, classes, strict=True)]
        targets = {"class_labels": classes, "mask_labels": masks}  # (present,) and (present, H, W) each
        return self.criterion(**layers[-1], **targets, auxiliary_predictions=layers[:-1])


def pixel_loss(pixel_logits: Tensor, labels: Tensor) -> Tensor:
    """Return the mean cross-entropy of `pixel_logits (B, classes, h, w)`, enlarged to `labels (B, H, W)`, 255 ignored.

    It is 0 where no pixel is labelled.
    """
    logits = interpolate(pixel_logits.float(), labels.shape[-2:], mode="bilinear", align_corners=False)
    total = cross_entropy(logits, labels, ignore_index=UNLABELLED, reduction="sum")
    return total / (labels != UNLABELLED).sum().clamp(min=1)


def _shrink(mask: Tensor, like: Tensor) -> Tensor:
    """Return `(B, 1, h, w)` of the size of `like`: whether most of each cell of `mask (B, H, W)` is set."""
    return interpolate(mask[:, None].float(), like.shape[-2:], mode="area") > 0.5


def _total(losses: dict[str, Tensor], name: str) -> Tensor:
    return torch.stack([loss for key, loss in losses.items() if key.startswith(name)]).sum()
