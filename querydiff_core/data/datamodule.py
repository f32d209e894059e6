"""Feed folders of images and labels to training and validation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset

from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.data.transforms import TrainingTransform
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping


@dataclass
class Folder:
    """A data set on disk: `root/images` and `root/labels`, matched by stem.

    `mapping`: bundled name or YAML file that maps label values to trainIds. `size`: (height, width) that validation
    images are resized to, None to keep their own.
    """

    root: str
    mapping: str = "train_ids"
    size: tuple[int, int] | None = None

    def open(self) -> LabelledFolder:
        """Return the pairs of this folder."""
        return LabelledFolder(Path(self.root), mapping=label_mapping(self.mapping))


class SegmentationData(lightning.LightningDataModule):
    """Training folders, mixed by their number of images, and validation folders by name.

    Args:
        train: folders to learn from.
        validation: name to folder; each is scored on its own.
        crop: (height, width) of training crops, in pixels.
        scale: range of a crop side's share of `crop` in the source image.
        aspect: range of the stretch of height against width.
        photometric: strength of the colour distortion, 0 to 1.
        batch_size: crops a step (a process).
        workers: loader processes.
    """

    def __init__(
        self,
        train: list[Folder],
        validation: dict[str, Folder] | None = None,
        crop: tuple[int, int] = (512, 512),
        scale: tuple[float, float] = (0.5, 2.0),
        aspect: tuple[float, float] = (0.75, 1.33),
        photometric: float = 1.0,
        batch_size: int = 4,
        workers: int = 2,
    ) -> None:
        super().__init__()
        self.train, self.validation = train, validation or {}
        self.transform = TrainingTransform(crop, scale, aspect, photometric)
        self.batch_size, self.workers = batch_size, workers

    def train_dataloader(self) -> DataLoader:
        """Return shuffled crops: images uint8 (B, 3, h, w) and labels int64 (B, h, w)."""
        crops: ConcatDataset = ConcatDataset([_Crops(folder.open(), self.transform) for folder in self.train])
        if len(crops) < self.batch_size:
            raise QueryDiffError(
                f"The training folders hold {len(crops)} images, fewer than a batch of {self.batch_size}."
            )
        return DataLoader(
            crops,
            self.batch_size,
            shuffle=True,
            num_workers=self.workers,
            drop_last=True,
            persistent_workers=self.workers > 0,
            worker_init_fn=_one_thread,
        )

    def val_dataloader(self) -> list[DataLoader]:
        """Return one loader a validation folder, in the order of the names; whole images, one at a time."""
        return [DataLoader(_Whole(folder), 1, num_workers=0) for folder in self.validation.values()]


class _Crops(Dataset):
    def __init__(self, pairs: LabelledFolder, transform: TrainingTransform) -> None:
        self.pairs, self.transform = pairs, transform

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = _tensors(self.pairs, index)
        image, labels = self.transform(image, labels)
        return image, labels.long()


class _Whole(Dataset):
    def __init__(self, folder: Folder) -> None:
        self.pairs, self.size = folder.open(), folder.size

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = _tensors(self.pairs, index)
        if self.size is not None:
            image = torch.nn.functional.interpolate(image[None].float(), self.size, mode="bilinear", antialias=True)
            image = image[0].round().to(torch.uint8)
        return image, labels.long()


def _tensors(pairs: LabelledFolder, index: int) -> tuple[Tensor, Tensor]:
    image, labels, stem = pairs[index]
    if labels is None:
        raise QueryDiffError(f"{stem} has no label: training and validation need one for every image.")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(labels)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
