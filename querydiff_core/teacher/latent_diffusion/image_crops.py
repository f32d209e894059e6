"""Crops of unlabelled images: which crops a step gets depends on the seed and the step alone."""

from __future__ import annotations

import hashlib
import itertools
import signal
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import lightning
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, TensorDataset

from querydiff_core.data.pairing import IMAGE_SUFFIXES, files_below
from querydiff_core.data.samplers import BatchSampler
from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.latent_diffusion.recipe import DataOptions
from querydiff_core.utils.image_files import read_image

LARGEST_SCALE = 2.0  # a crop shows between the whole short side of an image and half of it
HELD_OUT_SHARE, MOST_HELD_OUT = 20, 32


class Images(NamedTuple):
    """Image files, split.

    Attributes:
        training: files to train on; some may turn out to be unreadable.
        held_out: readable files for scores and pictures that are never trained on; of fewer than `HELD_OUT_SHARE`
            images none can be spared, and training images stand here.
        unreadable: files found so far that cannot be decoded.
        digest: hash of the names of all files.
    """

    training: list[Path]
    held_out: list[Path]
    unreadable: list[Path]
    digest: str


class Crops(NamedTuple):
    """Crops and the files that could not be read on the way, in place of which the next readable ones were taken.

    Attributes:
        images: uint8 RGB, `(B, 3, H, W)`.
        unreadable: the files that could not be read.
    """

    images: Tensor
    unreadable: list[Path]


def find_images(sources: Sequence[Path]) -> Images:
    """Find the images among `sources`, files or folders that are searched recursively, in a fixed order.

    Raises:
        QueryDiffError: if a source does not exist or holds no image, or none of the images can be read.
    """
    named = [entry for source in sources for entry in _named(source)]
    files = [file for _, file in named]
    spared = files[::HELD_OUT_SHARE][:MOST_HELD_OUT] if len(files) >= HELD_OUT_SHARE else []
    held_out = [file for file in spared or files if _can_read(file)]
    unreadable = [file for file in spared or files if file not in held_out]
    held_out = held_out or list(itertools.islice(filter(_can_read, files), 1))
    if not held_out:
        raise QueryDiffError(f"None of the {len(files)} images can be decoded, {files[0]} to begin with.")
    digest = hashlib.sha256("\n".join(name for name, _ in named).encode()).hexdigest()[:16]
    return Images([file for file in files if file not in spared], held_out, unreadable, digest)


def held_out_crops(files: list[Path], size: tuple[int, int]) -> Tensor:
    """Return the middle of each file, as large as it can be: uint8 RGB `(N, 3, H, W)`."""
    return torch.stack([_tensor(_middle(read_image(file), size)) for file in files])


class ImageCrops(lightning.LightningDataModule):
    """Feed float RGB crops in -1..1, `(B, 3, H, W)`, to training, and the held-out images, one by one, to validation.

    Args:
        images: files to train on and to score by; those that turn out to be unreadable are added to its `unreadable`.
        options: size, number and loading of the crops.
        seed: numbers that the crops depend on; which crop a step gets depends on them and on the step alone.
    """

    def __init__(self, images: Images, options: DataOptions, seed: Sequence[int]) -> None:
        super().__init__()
        self.images, self.options, self.seed = images, options, seed

    def train_dataloader(self) -> DataLoader:
        """Return the batches that are left of the run as one epoch."""
        assert self.trainer is not None
        batch, steps = self.options.batch_size, self.trainer.max_steps
        return DataLoader(
            RandomCrops(self.images.training, self.options.crop, self.seed),
            batch_sampler=BatchSampler(range(steps * batch), batch, batches=steps, start=self.trainer.global_step),
            num_workers=self.options.workers,
            collate_fn=_collate,
            worker_init_fn=_leave_signals_to_the_parent,
            generator=torch.Generator(),  # the global one is not to be drawn from
        )

    def val_dataloader(self) -> DataLoader:
        """Return the middles of the held-out images."""
        return DataLoader(TensorDataset(held_out_crops(self.images.held_out, self.options.crop)))

    def on_after_batch_transfer(self, batch: Crops | list[Tensor], _: int) -> Tensor:
        """Name each unreadable image once, and scale the others."""
        for file in sorted(set(batch.unreadable if isinstance(batch, Crops) else ()) - set(self.images.unreadable)):
            print(f"warning: {file} cannot be decoded and is left out", flush=True)
            self.images.unreadable.append(file)
        return signed(batch[0])


def signed(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in -1..1."""
    return images.to(torch.float32) / 127.5 - 1


class RandomCrops(Dataset[Crops]):
    """An endless sequence of random crops: crop n of a seed is always the same."""

    def __init__(self, files: list[Path], size: tuple[int, int], seed: Sequence[int]) -> None:
        self.files, self.size, self.seed = files, size, tuple(seed)

    def __getitem__(self, number: int) -> Crops:
        """Return crop `number` as a batch of one; in place of a damaged file the next one is read."""
        draw = np.random.default_rng([*self.seed, number])
        first = int(draw.integers(len(self.files)))
        unreadable = []
        for file in (*self.files[first:], *self.files[:first]):
            try:
                image = read_image(file)
            except QueryDiffError:
                unreadable.append(file)
                continue
            return Crops(_tensor(_random_crop(image, self.size, draw))[None], unreadable)
        raise QueryDiffError(f"None of the {len(self.files)} images can be decoded any more.")


def _named(source: Path) -> list[tuple[str, Path]]:
    """Return (path below `source`, path) of its images."""
    if not source.exists():
        raise QueryDiffError(f"No file or folder {source}: give images, or folders of them.")
    found = files_below(source, IMAGE_SUFFIXES) if source.is_dir() else [source]
    files = [file for file in found if file.suffix.lower() in IMAGE_SUFFIXES and file.is_file()]
    if not files:
        raise QueryDiffError(f"{source} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    return [(file.relative_to(source.parent).as_posix(), file) for file in files]


def _can_read(file: Path) -> bool:
    try:
        read_image(file)
    except QueryDiffError:
        return False
    return True


def _random_crop(image: np.ndarray, size: tuple[int, int], draw: np.random.Generator) -> np.ndarray:
    fit = min(image.shape[0] / size[0], image.shape[1] / size[1])  # image pixels to a pixel of the largest crop
    scale = np.exp(draw.uniform(0, np.log(np.clip(fit, 1, LARGEST_SCALE))))  # never finer than the image itself
    height, width = (max(1, round(side * fit / scale)) for side in size)
    top = int(draw.integers(image.shape[0] - height + 1))
    left = int(draw.integers(image.shape[1] - width + 1))
    crop = _resized(image[top : top + height, left : left + width], size)
    return crop[:, ::-1] if draw.random() < 0.5 else crop


def _middle(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    fit = min(image.shape[0] / size[0], image.shape[1] / size[1])
    height, width = (max(1, round(side * fit)) for side in size)
    top, left = (image.shape[0] - height) // 2, (image.shape[1] - width) // 2
    return _resized(image[top : top + height, left : left + width], size)


def _resized(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    shrinks = image.shape[0] > size[0]
    return cv2.resize(image, size[::-1], interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)


def _tensor(image: np.ndarray) -> Tensor:
    return torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)))


def _collate(crops: Iterable[Crops]) -> Crops:
    images, unreadable = zip(*crops, strict=True)
    return Crops(torch.cat(images), [file for files in unreadable for file in files])


def _leave_signals_to_the_parent(_: int) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches every process of the terminal
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
