"""Score a segmenter on labelled images: read ahead in threads, predict in one, count as it goes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from querydiff_core.errors import QueryDiffError, listed
from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.evaluation_source import EvaluationSource
from querydiff_core.evaluation.protocol import Protocol, predict
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import cityscapes
from querydiff_core.utils.parallel import each


class Run:
    """An evaluation under way: what is measured so far can be had at any time.

    The engine is called by one thread, as engines ask for, so that the scores do not depend on `workers`: these only
    read and decode ahead of it.
    """

    def __init__(self, segmenter: Segmenter, protocol: Protocol, workers: int = 2) -> None:
        """Predict with `segmenter` as `protocol` says; `workers` threads read images, 0 reads between inferences.

        Raises:
            QueryDiffError: if `workers` is negative or the model has other classes than the 19 of Cityscapes.
        """
        if workers < 0:
            raise QueryDiffError(f"workers must be 0 or more, found {workers}.")
        if (names := segmenter.label_space.names) != cityscapes().names:
            raise QueryDiffError(
                f"The model predicts {len(names)} classes, {', '.join(names[:3])}, ...: data sets are scored "
                f"over the {len(cityscapes())} classes of Cityscapes."
            )
        self._segmenter, self._protocol, self._workers = segmenter, protocol, workers
        self._measured: list[tuple[EvaluationSource, Scorer, UnknownLabelIds]] = []

    def __call__(self, sources: Sequence[EvaluationSource], should_continue: Callable[[], bool]) -> bool:
        """Score all of `sources`; `should_continue` is called after each image and stops the run with False.

        Returns:
            Whether all images were scored.

        Raises:
            QueryDiffError: if an image or its labels cannot be read, or no pixel of a source has a class; what was
                scored before stays.
        """
        for source in sources:
            scorer, unknown = Scorer(source.pairs.mapping), UnknownLabelIds()
            self._measured.append((source, scorer, unknown))
            images = each(source.pairs.read, range(len(source.pairs)), self._workers)
            for ((image, ground_truth, stem), values), files in zip(images, source.pairs.pairs, strict=True):
                assert ground_truth is not None
                assert files.labels is not None
                unknown.add(values, files.labels)
                prediction, confidence = predict(self._segmenter, image, self._protocol, source.data_set)
                scorer.update(prediction, confidence, ground_truth, stem)
                if not should_continue():
                    return False
            if not scorer.counts.any():
                self._measured.pop()
                raise QueryDiffError(
                    f"No pixel of {source.domain} has a class in the mapping {source.pairs.mapping.name} "
                    f"({str(unknown) or 'all are unlabelled'}): choose the mapping that its labels follow."
                )
        return True

    @property
    def domains(self) -> tuple[DomainResult, ...]:
        """Return the scores so far of the domains that were begun; `extra` says how many images a cut one had."""
        return tuple(
            scorer.result(source.domain, **_cut_short(scorer.images, len(source.pairs)))
            for source, scorer, _ in self._measured
            if scorer.images
        )

    @property
    def notes(self) -> list[str]:
        """Return a sentence for each source that had label ids which its mapping does not have."""
        return [
            f"{source.domain} has label values that the mapping {source.pairs.mapping.name} does not have, taken as "
            f"unlabelled: {unknown}."
            for source, _, unknown in self._measured
            if str(unknown)
        ]


class UnknownLabelIds:
    """Count images by label id that the mapping does not have: whoever chose the mapping should know of them.

    They are scored as unlabelled. Ids that the mapping lists as `unlabelled`, and 255, are known.
    """

    def __init__(self) -> None:
        self._images: Counter[str] = Counter()
        self._first: Path | None = None

    def add(self, unknown: Collection[str], file: Path) -> None:
        """Add the unknown ids of one label file."""
        if unknown:
            self._images.update(unknown)
            self._first = self._first or file

    def __str__(self) -> str:
        """Say which ids are in how many images, and the first file; empty if there are none."""
        if not self._first:
            return ""
        ids = [f"{value} in {n} image{'' if n == 1 else 's'}" for value, n in self._images.most_common()]
        return f"{listed(ids)}; first in {self._first}"


def _cut_short(scored: int, images: int) -> dict[str, int]:
    return {} if scored == images else {"cut_short_of": images}
