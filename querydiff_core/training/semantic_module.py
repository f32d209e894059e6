"""Train a student with the segmentation loss; Lightning runs the loop."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

import lightning
import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F
from torchmetrics.classification import MulticlassConfusionMatrix

from querydiff_core.build import build_model
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import UNLABELLED, cityscapes
from querydiff_core.models.querydiff import semantic_probabilities
from querydiff_core.models.segmentation_loss import SegmentationLoss, pixel_loss
from querydiff_core.training.schedule import polynomial_decay

Phase = Literal["pixels", "whole"]


class SemanticModule(lightning.LightningModule):
    """The student, its losses and its optimiser (docs/method.md, section 6).

    Args:
        variant: name in `build.py`.
        phase: "pixels" trains backbone, pixel decoder and refinement through the auxiliary per-pixel head, several
            times cheaper a step on a CPU; "whole" trains everything.
        start_from: a checkpoint (`.safetensors` or a training state's weights) to begin with.
        learning_rate: of everything but the backbone.
        backbone_learning_rate: of the backbone; None for the same.
        weight_decay: AdamW's.
        warm_up: steps of linear warm-up.
        auxiliary_weight: of the per-pixel loss in phase "whole".
        model: overrides of `build_model`.
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        variant: str = "small",
        phase: Phase = "whole",
        start_from: str | None = None,
        learning_rate: float = 1e-4,
        backbone_learning_rate: float | None = 1e-5,
        weight_decay: float = 0.05,
        warm_up: int = 100,
        auxiliary_weight: float = 0.5,
        model: dict[str, Any] | None = None,
    ) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.overrides = dict(model or {})
        self.model = build_model(variant, **self.overrides)
        if start_from is not None:
            _start_from(self.model, start_from)
        if phase == "pixels":
            _freeze([self.model.mask_decoder, *self.model.refinements[1:]])
        self.variant, self.phase = variant, phase
        self.rates = (learning_rate, backbone_learning_rate or learning_rate)
        self.weight_decay, self.warm_up = weight_decay, warm_up
        self.loss = SegmentationLoss(len(cityscapes()), auxiliary_weight=auxiliary_weight)
        self.register_buffer("mean", 255 * torch.tensor(self.model.mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", 255 * torch.tensor(self.model.std).view(1, 3, 1, 1), persistent=False)

    def training_step(self, batch: tuple[Tensor, Tensor], _: int) -> Tensor:
        """Return the loss of images uint8 (B, 3, h, w) against labels int64 (B, h, w)."""
        images, labels = batch
        losses = self._losses(self._normalise(images), labels)
        self.log_dict({f"train/{name}": value for name, value in losses.items()}, prog_bar=True)
        if not torch.isfinite(losses["loss"]):
            raise QueryDiffError(
                f"The loss is {losses['loss']:.4g} at step {self.global_step}: lower the learning rate."
            )
        return losses["loss"]

    def validation_step(self, batch: tuple[Tensor, Tensor], _: int, dataloader_idx: int = 0) -> None:
        """Add one whole image to the confusion matrix of its data set."""
        images, labels = batch
        if self.phase == "pixels":
            scores = self.model.pixel_path(self._normalise(images))
        else:
            scores = semantic_probabilities(self.model(self._normalise(images)))
        scores = F.interpolate(scores.float(), labels.shape[-2:], mode="bilinear")
        self._confusions[dataloader_idx].update(scores.argmax(1), labels)

    def on_validation_epoch_start(self) -> None:
        """Start one empty confusion matrix a validation set."""
        self._confusions = [
            MulticlassConfusionMatrix(len(cityscapes()), ignore_index=UNLABELLED).to(self.device)
            for _ in self._validation_names()
        ]

    def on_validation_epoch_end(self) -> None:
        """Log the mIoU of each validation set over the classes that it has."""
        for name, confusion in zip(self._validation_names(), self._confusions, strict=True):
            self.log(f"miou/{name}", _mean_iou(confusion.compute()), prog_bar=True)

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with the backbone in a group of its own, and the polynomial schedule."""
        backbone = {id(p) for p in self.model.backbone.parameters()}
        trained = [p for p in self.model.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if (id(p) in backbone) == inside], "lr": rate}
            for inside, rate in ((False, self.rates[0]), (True, self.rates[1]))
        ]
        optimizer = torch.optim.AdamW(groups, weight_decay=self.weight_decay)
        steps = int(self.trainer.estimated_stepping_batches)
        scheduler = polynomial_decay(optimizer, steps, self.warm_up)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def _losses(self, images: Tensor, labels: Tensor) -> dict[str, Tensor]:
        if self.phase == "pixels":
            return {"loss": pixel_loss(self.model.pixel_path(images), labels)}
        losses: dict[str, Tensor] = self.loss(self.model(images), labels)
        return losses

    def _normalise(self, images: Tensor) -> Tensor:
        normalised: Tensor = (images.float() - self.mean) / self.std
        return normalised.contiguous(memory_format=torch.channels_last)

    def _validation_names(self) -> list[str]:
        return list(self.trainer.datamodule.validation)  # type: ignore[attr-defined]


def _mean_iou(confusion: Tensor) -> Tensor:
    """Return the mean IoU over the classes with ground truth in `confusion` (19, 19), rows the truth."""
    counts = confusion.double()
    intersection, truth, predicted = counts.diag(), counts.sum(1), counts.sum(0)
    return (intersection / (truth + predicted - intersection))[truth > 0].mean()


def _freeze(modules: Iterable[torch.nn.Module]) -> None:
    """Leave out what a phase does not run: processes that train together wait for every trained parameter."""
    for module in modules:
        module.requires_grad_(False)


def _start_from(model: torch.nn.Module, path: str) -> None:
    """Load a training state (`.ckpt`) or a checkpoint for driving, whose missing auxiliary head then starts anew."""
    if path.endswith(".ckpt"):
        state = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
        weights = {name.removeprefix("model."): value for name, value in state.items() if name.startswith("model.")}
    else:
        weights = {name: value.float() for name, value in load_file(path).items()}
    missing, unexpected = model.load_state_dict(weights, strict=False)
    wrong = [*unexpected, *(name for name in missing if not name.startswith("pixel_head."))]
    if wrong:
        raise QueryDiffError(f"{path} holds another variant's weights ({wrong[0]} does not fit).")
