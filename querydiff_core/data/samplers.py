"""Which image a training run draws when: a function of the seed alone, so that a run can stop and go on."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from querydiff_core.errors import QueryDiffError

# DAFormer's temperature (Hoyer et al., CVPR 2022, section 3.2); the smaller, the more the rarest class is preferred.
RARE_CLASS_TEMPERATURE = 0.01
# A class counts as present in an image that has this share of its pixels: DAFormer's 3,000 of GTA5's 2 million.
RARE_CLASS_SHARE = 0.0015


class Sample(NamedTuple):
    """`number` of the draw in the run, `source` and `image` by index, and the rare class it was drawn for, if any."""

    number: int
    source: int
    image: int
    rare_class: int | None = None


class ShuffledImages:
    """Every image once in each round, in a new order each round."""

    def __init__(self, images: int) -> None:
        self.images = images
        self._order: Iterator[int] = iter(())

    def draw(self, random: np.random.Generator) -> tuple[int, int | None]:
        """Return the next image, drawn for no class."""
        image = next(self._order, None)
        if image is None:
            self._order = iter(random.permutation(self.images).tolist())
            image = next(self._order)
        return image, None


class RareClassImages:
    """Draw a class, the rarer the more often, and an image that has it (DAFormer, Eqs. 6 and 7).

    Args:
        class_pixels: `(images, classes)` labelled pixels.
        temperature: T of P(c) ~ exp((1 - f_c) / T).

    Raises:
        QueryDiffError: if no image has a labelled pixel.
    """

    def __init__(self, class_pixels: np.ndarray, temperature: float = RARE_CLASS_TEMPERATURE) -> None:
        self.classes = np.flatnonzero(class_pixels.any(0))
        if not len(self.classes):
            raise QueryDiffError("Rare-class sampling needs labelled pixels; a training source has none.")
        frequency = class_pixels.sum(0)[self.classes] / class_pixels.sum()
        weights = np.exp((frequency.min() - frequency) / temperature)
        self.probabilities = weights / weights.sum()
        enough = RARE_CLASS_SHARE * class_pixels.sum(1)
        self.images = [_images_with(class_pixels[:, index], enough) for index in self.classes]

    def draw(self, random: np.random.Generator) -> tuple[int, int | None]:
        """Return an image and the class it was drawn for."""
        index = int(random.choice(len(self.classes), p=self.probabilities))
        return int(random.choice(self.images[index])), int(self.classes[index])


def _images_with(pixels: np.ndarray, enough: np.ndarray) -> np.ndarray:
    plenty = np.flatnonzero((pixels > 0) & (pixels >= enough))
    return plenty if len(plenty) else np.flatnonzero(pixels)


@dataclass(frozen=True)
class Sampler:
    """The endless sequence of draws of a run.

    Attributes:
        images: of each source.
        weights: share of each source in the draws.
        seed: of the run.
        class_pixels: for rare-class sampling, `(images, classes)` of each source; None draws all images equally.
        temperature: of rare-class sampling.
    """

    images: Sequence[int]
    weights: Sequence[float]
    seed: int = 0
    class_pixels: Sequence[np.ndarray] | None = None
    temperature: float = RARE_CLASS_TEMPERATURE

    @property
    def shares(self) -> list[float]:
        """Share of each source in the draws, 1 in sum."""
        return [weight / sum(self.weights) for weight in self.weights]

    def __iter__(self) -> Iterator[Sample]:
        """Draw from the start of the run."""
        random = np.random.default_rng(self.seed)
        limits = np.cumsum(self.shares)
        sources = [self._images(source) for source in range(len(self.images))]
        for number in itertools.count():
            source = min(int(np.searchsorted(limits, random.random(), side="right")), len(limits) - 1)
            yield Sample(number, source, *sources[source].draw(random))

    def _images(self, source: int) -> ShuffledImages | RareClassImages:
        if self.class_pixels is None:
            return ShuffledImages(self.images[source])
        return RareClassImages(self.class_pixels[source], self.temperature)


@dataclass(frozen=True)
class BatchSampler:
    """One process's share of the batches of a run, as lists of draws; what `DataLoader` calls a batch sampler.

    Batch b of the run holds draws b W B to (b + 1) W B - 1 for W processes of B images; process w gets the w-th B.

    Attributes:
        sampler: of the run; any numbering of draws will do.
        size: B, images in a batch and process.
        batches: in the whole run.
        start: batches that were done before, when a run goes on.
        process: w, this process's number.
        processes: W.
    """

    sampler: Iterable[Any]
    size: int
    batches: int
    start: int = 0
    process: int = 0
    processes: int = 1

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[list[Any]]:
        """Return the batches from `start` to the end of the run."""
        together = self.size * self.processes
        draws = itertools.islice(self.sampler, self.start * together, self.batches * together)
        for _ in range(self.start, self.batches):
            batch = list(itertools.islice(draws, together))
            yield batch[self.process * self.size : (self.process + 1) * self.size]
