"""Mean IoU in validation, over the classes that a data set can tell apart, summed over processes."""

from __future__ import annotations

import torch
from torch import Tensor
from torchmetrics.classification import MulticlassConfusionMatrix

from querydiff_core.label_space import UNLABELLED, LabelMapping
from querydiff_core.utils.iou import class_counts, class_iou, mean_iou


class MergedIoU(MulticlassConfusionMatrix):
    """Mean IoU over the classes with ground truth; `mapping` says which trainIds count as one class.

    A prediction that is in none of the classes is wrong wherever there is ground truth.
    """

    table: Tensor

    def __init__(self, mapping: LabelMapping) -> None:
        classes = len(mapping.score_classes)
        # The last is `none of them`. No validation: it sorts all pixels twice, and the table gives nothing else.
        super().__init__(classes + 1, ignore_index=UNLABELLED, validate_args=False)
        self.register_buffer("table", torch.from_numpy(mapping.score_table.copy()).long(), persistent=False)

    def update(self, prediction: Tensor, ground_truth: Tensor) -> None:
        """Count the pixels of trainIds, int64 of one shape; those that are 255 in `ground_truth` are left out."""
        merged = self.table[prediction]
        super().update(torch.where(merged == UNLABELLED, self.num_classes - 1, merged), self.table[ground_truth])

    def compute(self) -> Tensor:
        """Return the mean IoU, 0 to 1; NaN without ground truth."""
        counts = super().compute()[:-1]
        miou = mean_iou(class_iou(*class_counts(counts.cpu().numpy())))
        return torch.tensor(float("nan") if miou is None else miou, device=counts.device)
