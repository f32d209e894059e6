"""Evaluate many bags, one Result each, and merge them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial, reduce
from pathlib import Path

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.evaluate_bag import BagOutcome, evaluate_bag

Outcome = BagOutcome | QueryDiffError
"""What a bag gave, or why it could not be evaluated."""
Progress = Callable[[BagSource, int], None]
"""Told of each bag how many frames are done."""


def evaluate_here(
    sources: Sequence[BagSource], options: BagOptions, progress: Progress = lambda source, frames: None
) -> Iterator[tuple[BagSource, Outcome]]:
    """Evaluate the bags one after the other in this process, with one engine."""
    segmenter = options.load_segmenter() if sources else None
    for source in sources:
        try:
            yield source, evaluate_bag(source, options, partial(progress, source), segmenter)
        except QueryDiffError as error:
            yield source, error


class BagResults:
    """The Results of many bags in a folder beside `output`, which gets their sum.

    Each bag's files appear as soon as it is done, so that an interrupted run goes on where it was.

    Args:
        output: the file of the merged Result, `x.json`; the bags' own files go to the folder `x_bags`.
        sources: the bags.
        options: how they are evaluated.
        say: takes sentences for the user.
    """

    def __init__(
        self, output: Path, sources: Sequence[BagSource], options: BagOptions, say: Callable[[str], None]
    ) -> None:
        self.folder = output.parent / f"{output.stem}_bags"
        self._output, self._sources, self._options, self._say = output, list(sources), options, say
        self._model_sha256 = options.model_sha256
        self._failures: list[QueryDiffError] = []

    def missing(self) -> list[BagSource]:
        """Return the bags that have no Result yet, or one of other data, another model or other options."""
        return [source for source in self._sources if not self._matches(source)]

    def take(self, source: BagSource, outcome: Outcome) -> None:
        """Write what a bag gave; the Result comes last, so that where it is the rest is too."""
        if isinstance(outcome, QueryDiffError):
            self._failures.append(outcome)
            if len(self._sources) > 1:
                self._say(f"warning: {outcome}")
            return
        for warning in outcome.warnings:
            self._say(f"warning: {warning}")
        for stale in self.folder.glob(f"{source.name}_look_*.jpg"):
            stale.unlink()
        try:
            for ending, data in outcome.files.items():
                with atomic_file(self.folder / f"{source.name}{ending}") as temporary:
                    temporary.write_bytes(data)
            outcome.result.save(self._file(source))
        except OSError as error:
            raise QueryDiffError(f"Cannot write to {self.folder}: {error.strerror or error}.") from error

    def merge(self) -> Result:
        """Add up the bags' Results in the order of the bags, write the sum and return it.

        Raises:
            QueryDiffError: if no bag could be evaluated.
        """
        files = [self._file(source) for source in self._sources if self._matches(source)]
        if not files:
            raise self._failures[0]
        merged = reduce(Result.merge, map(Result.load, files))
        merged.save(self._output)
        return merged

    def complain(self) -> None:
        """Raise if some bags could not be evaluated.

        Raises:
            QueryDiffError: with their number; `take` has said why.
        """
        if self._failures:
            raise QueryDiffError(
                f"{len(self._failures)} of {len(self._sources)} bags could not be evaluated; {self._output} holds the "
                "others."
            )

    def _file(self, source: BagSource) -> Path:
        return self.folder / f"{source.name}.json"

    def _matches(self, source: BagSource) -> bool:
        try:
            result = Result.load(self._file(source))
        except QueryDiffError:
            return False
        return (
            result.settings == self._options.settings
            and result.model.get("sha256") == self._model_sha256
            and result.model.get("path") == (self._options.model or "default")
            and [entry.get("fingerprint") for entry in result.data] == [source.fingerprint]
        )
