"""Crops of unlabelled images: which crop a step sees depends on (seed, step) alone."""

from __future__ import annotations

import hashlib
import signal
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from querydiff_core.data.pairing import IMAGE_SUFFIXES
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.image_files import read_image

LARGEST_SCALE = 2.0  # a crop shows between the whole short side of an image and half of it
HELD_OUT_SHARE, MOST_HELD_OUT = 20, 32


class Images(NamedTuple):
    """Image files, split.

    Attributes:
        training: to train on; some may turn out to be unreadable.
        held_out: readable, judged and pictured but never trained on; of fewer than `HELD_OUT_SHARE` images none can
            be spared, and training images stand here.
        unreadable: files met so far that cannot be decoded.
        digest: stands for the names of all.
    """

    training: list[Path]
    held_out: list[Path]
    unreadable: list[Path]
    digest: str


class Crops(NamedTuple):
    """`images` uint8 RGB `(B, 3, H, W)`; `unreadable` files met on the way, replaced by the next that can be read."""

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
    held_out, unreadable = _by_readability(spared or files)
    if not held_out:
        held_out = [_first_readable(files)]
    digest = hashlib.sha256("\n".join(name for name, _ in named).encode()).hexdigest()[:16]
    return Images([file for file in files if file not in spared], held_out, unreadable, digest)


def training_crops(
    files: list[Path], size: tuple[int, int], *, batch: int, steps: range, seed: Sequence[int], workers: int
) -> Iterator[Crops]:
    """Return the crops of `steps`, `batch` each: random in image, scale, place and flip by (`seed`, step)."""
    loader = DataLoader(
        RandomCrops(files, size, seed),
        sampler=range(steps.start * batch, steps.stop * batch),
        batch_size=batch,
        num_workers=workers,
        collate_fn=_collate,
        worker_init_fn=_leave_signals_to_the_parent,
        generator=torch.Generator(),  # the global one is not to be drawn from
    )
    return iter(loader)


def held_out_crops(files: list[Path], size: tuple[int, int]) -> Tensor:
    """Return the middle of each file, as large as it can be: uint8 RGB `(N, 3, H, W)`."""
    return torch.stack([_tensor(_middle(read_image(file), size)) for file in files])


class RandomCrops(Dataset[Crops]):
    """The endless row of random crops that `seed` stands for: the n-th is always the same."""

    def __init__(self, files: list[Path], size: tuple[int, int], seed: Sequence[int]) -> None:
        self.files, self.size, self.seed = files, size, tuple(seed)

    def __getitem__(self, number: int) -> Crops:
        """Return crop `number` `(1, 3, H, W)`; in place of a damaged file the next one is read."""
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
    found = sorted(source.rglob("*")) if source.is_dir() else [source]
    files = [f for f in found if f.suffix.lower() in IMAGE_SUFFIXES and not f.name.startswith(".") and f.is_file()]
    if not files:
        raise QueryDiffError(f"{source} holds no image ({', '.join(IMAGE_SUFFIXES)}).")
    return [(file.relative_to(source.parent).as_posix(), file) for file in files]


def _by_readability(files: list[Path]) -> tuple[list[Path], list[Path]]:
    readable = [file for file in files if _can_read(file)]
    return readable, [file for file in files if file not in readable]


def _first_readable(files: list[Path]) -> Path:
    first = next((file for file in files if _can_read(file)), None)
    if first is None:
        raise QueryDiffError(f"None of the {len(files)} images can be decoded, {files[0]} to begin with.")
    return first


def _can_read(file: Path) -> bool:
    try:
        read_image(file)
    except QueryDiffError:
        return False
    return True


def _random_crop(image: np.ndarray, size: tuple[int, int], draw: np.random.Generator) -> np.ndarray:
    fit = min(image.shape[0] / size[0], image.shape[1] / size[1])  # image pixels a crop pixel, when it is largest
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
