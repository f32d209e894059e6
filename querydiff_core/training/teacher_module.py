"""What the two networks of a latent diffusion have in common in training."""

from __future__ import annotations

from typing import Any

import torch
from lightning.pytorch.utilities.types import OptimizerLRScheduler
from torch import Tensor, nn

from querydiff_core.teacher.latent_diffusion.image_crops import ImageCrops
from querydiff_core.teacher.latent_diffusion.recipe import Recipe
from querydiff_core.training.trained_module import TrainedModule, polynomial_decay
from querydiff_core.utils.seeds import mixed_seed

WARM_UP = 100  # steps of linear warm-up, after which the rate is constant


class TeacherModule(TrainedModule):
    """Train one of the networks with AdamW on images in -1..1, `(B, 3, H, W)`.

    Everything random in a step depends on (seed, network, step) alone, so that an interruption leaves no trace.

    Args:
        network: is trained; its parameters are changed in place.
        recipe: of the run.

    Attributes:
        name: of the network.
        number: sets the random numbers of the networks apart.
        pictures: what the last validation showed, by name: images in -1..1, `(N, 3, H, W)`, and how many are in a row.
    """

    advice = (
        "Repeat the command with a lower --model.learning_rate or with --trainer.precision 32-true to go on from there."
    )
    name: str
    number: int

    def __init__(self, network: nn.Module, recipe: Recipe) -> None:
        super().__init__()
        self.network, self.recipe = network, recipe
        self.pictures: dict[str, tuple[Tensor, int]] = {}

    def losses(self, images: Tensor, random: torch.Generator) -> dict[str, Tensor]:
        """Return the losses of a batch; the one named `loss` is minimised. `random` is all that is random in them."""
        raise NotImplementedError

    def training_step(self, images: Tensor, _: int) -> Tensor:
        """Return the loss of a batch."""
        step = self.global_step + 1
        random = torch.Generator().manual_seed(mixed_seed(self.recipe.seed_everything, self.number, step))
        return self.log_losses(self.losses(images, random))

    def on_train_batch_end(self, *_: Any) -> None:
        """Let the last step be validated, whether or not the interval of validations divides it."""
        if self.global_step == self.trainer.max_steps:
            self.trainer.should_stop = True

    def configure_optimizers(self) -> OptimizerLRScheduler:
        """Return AdamW with a constant rate after its warm-up."""
        optimizer = torch.optim.AdamW(self.network.parameters(), self.recipe.model.learning_rate, fused=True)
        scheduler = polynomial_decay(optimizer, self.trainer.max_steps, WARM_UP, power=0)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "interval": "step"}}

    def announcement(self) -> dict[str, str]:
        """Describe images, network and length of the run."""
        data: ImageCrops = self.trainer.datamodule  # type: ignore[attr-defined]
        parameters = sum(parameter.numel() for parameter in self.network.parameters())
        height, width = self.recipe.data.crop
        return {
            "learns from": f"{len(data.images.training)} images",
            "scored on": f"{len(data.images.held_out)} images",
            self.name: f"{parameters / 1e6:.1f} M parameters trained",
            "steps": f"{self.global_step} to {self.trainer.max_steps}, {self.recipe.data.batch_size} crops of "
            f"{height} x {width} each, on {self.device.type}",
            "writes to": self.trainer.default_root_dir,
        }

    def experiment(self) -> dict[str, dict[str, Any]]:
        """Return what is trained; the recipe says the rest, before the run begins."""
        return {"model": {"network": self.name}}
