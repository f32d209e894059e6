"""Feed data sets to training and validation."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import NamedTuple

import lightning
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate
from torch.utils.data import DataLoader, Dataset, Subset

from querydiff_core.data.class_pixels import class_pixels
from querydiff_core.data.data_source import DataSource
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.data.samplers import BatchSampler, Sample, Sampler
from querydiff_core.data.transforms import HUE, TrainingTransform
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import UNLABELLED
from querydiff_core.utils.cache_folder import cache_folder
from querydiff_core.utils.image_files import fit_into
from querydiff_core.utils.seeds import CROPS, mixed_seed

BLANK = -1
"""Index of an image without labels, in validation."""


class Crop(NamedTuple):
    """A training crop: `image` uint8 `(3, h, w)`, `labels` int64 `(h, w)`, `number` of its draw, int64 `()`.

    A batch stacks each.
    """

    image: Tensor
    labels: Tensor
    number: Tensor


class SegmentationData(lightning.LightningDataModule):
    """Training sources, mixed, and validation sources by name.

    What is drawn and how it is distorted depends on the seed and the number of the draw alone, not on the number of
    workers or processes, nor on interruptions.

    Args:
        train: data sets to learn from, mixed by their weights, or by their number of images.
        validation: name to data set; each is scored on its own.
        root: folder that the sources' relative roots are in.
        crop: (height, width) of training crops, in pixels.
        short_side: range that an image's short side is resized to before it is cropped; None crops by `scale`.
        scale: without `short_side`, the range of a crop side's share of `crop` in the source image.
        aspect: range of the stretch of height against width.
        photometric: strength of the colour distortion, 0 to 1.
        hue: largest shift of the hue at photometric 1, as a share of the circle; mmsegmentation's is 0.1.
        cat_max_ratio: largest share of a crop's labelled pixels that one class may take, or the crop is drawn again, at
            most ten times, as mmsegmentation does with 0.75; None takes any crop.
        corruption: probability of bad light, a bad lens, sensor or encoder, 0 to 1.
        rare_classes: temperature of rare-class sampling (DAFormer's is 0.01); None draws every image equally often.
        batch_size: crops a step (a process).
        workers: loader processes.
        seed: of the draws and distortions.
    """

    def __init__(
        self,
        train: list[DataSource],
        validation: dict[str, DataSource] | None = None,
        *,
        root: str = ".",
        crop: tuple[int, int] = (512, 512),
        short_side: tuple[int, int] | None = (256, 1024),
        scale: tuple[float, float] = (0.5, 2.0),
        aspect: tuple[float, float] = (1.0, 1.0),
        photometric: float = 1.0,
        corruption: float = 0.0,
        hue: float = HUE,
        cat_max_ratio: float | None = None,
        rare_classes: float | None = None,
        batch_size: int = 4,
        workers: int = 2,
        seed: int = 0,
    ) -> None:
        super().__init__()
        _check(crop, batch_size, workers, photometric, corruption, rare_classes)
        self.root, self.batch_size, self.workers, self.seed = root, batch_size, workers, seed
        self.rare_classes = rare_classes
        self.train, self.validation = [self._rooted(source) for source in train], validation or {}
        self.validation = {name: self._rooted(source) for name, source in self.validation.items()}
        self.transform = TrainingTransform(
            crop, short_side, scale, aspect, photometric, corruption, hue=hue, cat_max_ratio=cat_max_ratio
        )
        self.identity = {
            "train": [{**asdict(source), "root": Path(source.root).name} for source in train],
            "crop": list(crop),
            "short_side": short_side and list(short_side),
            "scale": list(scale),
            "aspect": list(aspect),
            "photometric": photometric,
            "corruption": corruption,
            "hue": hue,
            "cat_max_ratio": cat_max_ratio,
            "rare_classes": rare_classes,
            "seed": seed,
        }

    def prepare_data(self) -> None:
        """Count the pixels of each class, in one process, where rare-class sampling needs them; they are kept."""
        if self.rare_classes is not None:
            for source in self.train:
                self._class_pixels(source.open())

    def setup(self, stage: str) -> None:
        """Open the data sets.

        Raises:
            QueryDiffError: for a source that cannot be read, is empty, has images without labels or no pixel of any
                class, or weights that some sources have and others have not.
        """
        if stage != "fit":
            return
        if not self.train:
            raise QueryDiffError("There is nothing to train on: give data.train one or more sources.")
        if self.trainer is not None and self.trainer.max_steps < 1:
            raise QueryDiffError("A run is measured in steps: give --trainer.max_steps, such as 60000.")
        self.training_pairs = [_labelled(source) for source in self.train]
        self.validation_mappings = {name: _labelled(source).mapping for name, source in self.validation.items()}
        images = [len(pairs) for pairs in self.training_pairs]
        if self.rare_classes is None:
            self.sampler = Sampler(images, self._weights(), self.seed)
        else:
            pixels = [self._class_pixels(pairs) for pairs in self.training_pairs]
            self.sampler = Sampler(images, self._weights(), self.seed, pixels, self.rare_classes)

    def train_dataloader(self) -> DataLoader:
        """Return all that is left of the run as one epoch of `Crop` batches, so that progress shows the whole run."""
        trainer = self.trainer
        assert trainer is not None
        each = trainer.accumulate_grad_batches
        batches = BatchSampler(
            self.sampler,
            self.batch_size,
            batches=trainer.max_steps * each,
            start=trainer.global_step * each,
            process=trainer.global_rank,
            processes=trainer.world_size,
        )
        crops = _Crops(self.training_pairs, self.transform, self.seed)
        return DataLoader(
            crops,
            batch_sampler=batches,  # of draws, which is what the crops are asked for
            num_workers=self.workers,
            worker_init_fn=_one_thread,
            pin_memory=torch.cuda.is_available(),
        )

    def val_dataloader(self) -> list[DataLoader]:
        """Return one loader a validation source, in the order of the names; whole images, one at a time.

        Processes that train together share the images out; where that leaves one short, it gets an image without
        labels, as all must run equally often.
        """
        process, processes = (self.trainer.global_rank, self.trainer.world_size) if self.trainer else (0, 1)
        loaders = []
        for source in self.validation.values():
            images = _Whole(source)
            share = list(range(process, len(images), processes))
            missing = -(-len(images) // processes) - len(share)
            loaders.append(DataLoader(Subset(images, share + missing * [BLANK]), 1, num_workers=self.workers))
        return loaders

    def files(self, numbers: Sequence[int]) -> list[Path]:
        """Return the image files of draws by number."""
        drawn = {sample.number: sample for sample in itertools.islice(self.sampler, max(numbers) + 1)}
        return [self.training_pairs[drawn[n].source].files(drawn[n].image)[0] for n in numbers]

    def _rooted(self, source: DataSource) -> DataSource:
        return replace(source, root=str(Path(self.root) / source.root))

    def _weights(self) -> list[float]:
        weights = [source.weight for source in self.train if source.weight is not None]
        if len(weights) not in (0, len(self.train)):
            raise QueryDiffError(
                f"{len(weights)} of {len(self.train)} training sources have a weight: give all or none."
            )
        if any(weight <= 0 for weight in weights):
            raise QueryDiffError(f"Weights of training sources must be greater than 0, found {min(weights)}.")
        return weights or [float(len(pairs)) for pairs in self.training_pairs]

    def _class_pixels(self, pairs: LabelledPairs) -> np.ndarray:
        return class_pixels(pairs, workers=self.workers, cache=cache_folder("class_pixels"))


class _Crops(Dataset):
    def __init__(self, pairs: Sequence[LabelledPairs], transform: TrainingTransform, seed: int) -> None:
        self.pairs, self.transform, self.seed = pairs, transform, seed

    def __getitem__(self, sample: Sample) -> Crop:
        image, labels = _tensors(self.pairs[sample.source], sample.image)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(mixed_seed(self.seed, CROPS, sample.number))
            image, labels = self.transform(image, labels, sample.rare_class)
        return Crop(image, labels.long(), torch.tensor(sample.number))


class _Whole(Dataset):
    def __init__(self, source: DataSource) -> None:
        self.pairs, self.size, self.fitted = source.open(), source.size, source.fitted

    def __len__(self) -> int:
        return len(self.pairs)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        image, labels = _tensors(self.pairs, max(index, 0))
        if index == BLANK:
            labels = torch.full_like(labels, UNLABELLED)
        if self.size is not None:
            image = interpolate(image[None].float(), self._size(labels), mode="bilinear", antialias=True)
            image = image[0].round().to(torch.uint8)
        return image, labels.long()

    def _size(self, labels: Tensor) -> tuple[int, int]:
        if isinstance(self.size, float):
            return round(labels.shape[0] * self.size), round(labels.shape[1] * self.size)
        assert self.size is not None
        return fit_into(self.size, (labels.shape[0], labels.shape[1])) if self.fitted else self.size


def _check(
    crop: tuple[int, int],
    batch_size: int,
    workers: int,
    photometric: float,
    corruption: float,
    rare_classes: float | None,
) -> None:
    """Refuse what no run could begin with."""
    if min(crop) < 32:
        raise QueryDiffError(f"Crops must be 32 x 32 pixels or larger, found {crop[0]} x {crop[1]} (data.crop).")
    if batch_size < 1 or workers < 0:
        raise QueryDiffError(
            f"data.batch_size must be 1 or more and data.workers 0 or more, found {batch_size} and {workers}."
        )
    if not 0 <= photometric <= 1:
        raise QueryDiffError(f"data.photometric must be 0 to 1, found {photometric}.")
    if not 0 <= corruption <= 1:
        raise QueryDiffError(f"data.corruption, a probability, must be 0 to 1, found {corruption}.")
    if rare_classes is not None and rare_classes <= 0:
        raise QueryDiffError(f"data.rare_classes, a temperature, must be greater than 0, found {rare_classes}.")


def _labelled(source: DataSource) -> LabelledPairs:
    """Open a source and refuse one that could teach or tell nothing; mostly its first labels show that it can.

    Raises:
        QueryDiffError: if it cannot be read, has images without labels, or no pixel of any class.
    """
    pairs = source.open()
    if not pairs.labelled:
        part = f" (split {source.split})" if source.split else ""
        raise QueryDiffError(f"{source.root}{part} has no labels: training and validation need one for every image.")
    table = pairs.mapping.score_table
    labels = (pairs.labels(index) for index in range(len(pairs)))
    if not any(bool((table[found] != UNLABELLED).any()) for found in labels if found is not None):
        raise QueryDiffError(
            f"No pixel of {source.root} has a class in the mapping {pairs.mapping.name}: all are unlabelled; choose "
            "the mapping that its labels follow."
        )
    return pairs


def _tensors(pairs: LabelledPairs, index: int) -> tuple[Tensor, Tensor]:
    image, labels, stem = pairs[index]
    if labels is None:
        raise QueryDiffError(f"{stem} has no label: training and validation need one for every image.")
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))), torch.from_numpy(labels)


def _one_thread(_: int) -> None:
    torch.set_num_threads(1)
