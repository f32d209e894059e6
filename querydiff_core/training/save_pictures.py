"""Pictures of a training run: what the student predicts, what each agent query attends to, and what a teacher makes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import lightning
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from lightning.pytorch.strategies import FSDPStrategy
from torch import Tensor
from torch.nn.functional import interpolate
from torchvision.utils import make_grid

from querydiff_core.label_space import cityscapes
from querydiff_core.teacher.similarity_pictures import attention_picture, query_sheet
from querydiff_core.training.semantic_module import SemanticModule
from querydiff_core.training.teacher_module import TeacherModule
from querydiff_core.utils.image_files import write_image
from querydiff_core.utils.overlay import overlay
from querydiff_core.utils.panels import grid, panel

WIDTH = 1536  # of a picture of three images, in pixels
GAP = 4  # between the images of a teacher, in pixels


class SavePictures(Callback):
    """After every validation, show some images of each domain: image, ground truth and prediction side by side.

    With a teacher, there are also its similarity maps (Eq. 8): which agent query each place attends to most, and the
    places that the most used queries attend to. Pictures go to `pictures/` in the run's folder and to TensorBoard;
    under FSDP there are none.

    Args:
        images: number of images of each validation source; 0 for none.
    """

    def __init__(self, images: int = 2) -> None:
        self.images = images

    @torch.no_grad()
    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Draw and write."""
        folder = trainer.log_dir or trainer.default_root_dir  # asked of every process: `log_dir` is a broadcast
        sharded = isinstance(trainer.strategy, FSDPStrategy)  # it runs through its wrapper alone
        if trainer.sanity_checking or sharded or not isinstance(pl_module, SemanticModule):
            return
        for name, picture in self._pictures(trainer, pl_module) if trainer.is_global_zero else ():
            _write(trainer, Path(folder) / "pictures", name, ".jpg", picture)

    def _pictures(self, trainer: lightning.Trainer, module: SemanticModule) -> Iterator[tuple[str, np.ndarray]]:
        for domain, loader in zip(module.data.validation, trainer.val_dataloaders or [], strict=True):
            for index in range(min(self.images, len(loader.dataset))):
                image, ground_truth = (tensor.to(module.device)[None] for tensor in loader.dataset[index])
                with trainer.precision_plugin.forward_context():
                    yield f"{domain}_{index}", _prediction_picture(module, image, ground_truth)
                    if module.distillation is not None:
                        yield from _similarity_pictures(module, f"{domain}_{index}", image)


class SaveTeacherPictures(Callback):
    """After every validation, write what the network in training shows of itself to `folder` and to TensorBoard."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def on_validation_end(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        """Write each of them as a grid."""
        assert isinstance(pl_module, TeacherModule)
        for name, (images, columns) in pl_module.pictures.items():
            picture = make_grid(images.float(), columns, GAP, normalize=True, value_range=(-1, 1), pad_value=1)
            _write(trainer, self.folder, name, ".png", _rgb(255 * picture[None]))


def _write(trainer: lightning.Trainer, folder: Path, name: str, suffix: str, picture: np.ndarray) -> None:
    """Write a uint8 RGB picture of this step to `folder`, and to TensorBoard where the run has it."""
    write_image(folder / f"{name}_{trainer.global_step:06}{suffix}", picture)
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger.experiment.add_image(name, picture, trainer.global_step, dataformats="HWC")


def _prediction_picture(module: SemanticModule, image: Tensor, ground_truth: Tensor) -> np.ndarray:
    """Return image, ground truth and prediction side by side."""
    height = round(image.shape[2] * WIDTH / 3 / image.shape[3])
    size = (height, WIDTH // 3)
    prediction = interpolate(module.scores(image).float(), size, mode="bilinear").argmax(1)[0]
    expected = interpolate(ground_truth[None].float(), size, mode="nearest-exact")[0, 0]
    picture = _rgb(interpolate(image.float(), size, mode="bilinear", antialias=True))
    painted = [overlay(picture, t.byte().cpu().numpy(), cityscapes(), 0.6) for t in (expected, prediction)]
    captions = ("input", "ground truth", "prediction")
    return grid([panel(each, *size[::-1], text) for each, text in zip((picture, *painted), captions, strict=True)], 3)


def _similarity_pictures(module: SemanticModule, name: str, image: Tensor) -> Iterator[tuple[str, np.ndarray]]:
    """Yield the similarity maps of each feature over the image, at the height of the training crops."""
    assert module.distillation is not None
    multiple, height = module.distillation.teacher.multiple, module.data.transform.crop[0]
    width = max(multiple, round(image.shape[3] * height / image.shape[2] / multiple) * multiple)
    image = interpolate(image.float(), (height, width), mode="bilinear", antialias=True)
    queries = module.model(module.normalise(image)).agent_queries
    maps, sizes = module.distillation.similarity(image / 255, queries)
    for feature, (similarity, size) in enumerate(zip(maps, sizes, strict=True)):
        scores = similarity[0].float().cpu().numpy()  # (h_j w_j, r)
        yield f"{name}_attention_{feature}", attention_picture(_rgb(image), scores, size)
        yield f"{name}_queries_{feature}", query_sheet(_rgb(image), scores, size)


def _rgb(image: Tensor) -> np.ndarray:
    """Return one image (1, 3, h, w) of 0..255 as uint8 RGB (h, w, 3)."""
    return image[0].round().clamp(0, 255).byte().permute(1, 2, 0).contiguous().cpu().numpy()
