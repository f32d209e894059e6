"""Evaluate many bags, one Result each; merge them and show them in the terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import reduce
from pathlib import Path

from rich.table import Table

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.evaluation.result import Result
from querydiff_core.evaluation.result_table import percent
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.utils.terminal import console
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.evaluate_bag import BagOutcome, evaluate_bag
from querydiff_ros.bag_evaluation.measurements import BagEntry, ConditionSummary, OnlineStatistics

Outcome = BagOutcome | QueryDiffError
"""What a bag gave, or why it could not be evaluated."""


def evaluate_here(sources: Sequence[BagSource], options: BagOptions) -> Iterator[tuple[BagSource, Outcome]]:
    """Evaluate the bags one after the other in this process, with one engine."""
    segmenter = Segmenter.open(options.engine) if sources else None
    for source in sources:
        try:
            yield source, evaluate_bag(source, options, segmenter)
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
        self._failures: dict[BagSource, QueryDiffError] = {}

    def missing(self) -> list[BagSource]:
        """Return the bags that have no Result yet, or one of other data, another model or other options."""
        return [source for source in self._sources if not self._matches(source)]

    def take(self, source: BagSource, outcome: Outcome) -> None:
        """Write what a bag gave; the Result comes last, so that where it is the rest is too."""
        if isinstance(outcome, QueryDiffError):
            self._failures[source] = outcome
            if len(self._sources) > 1:
                self._say(f"warning: {outcome}")
            return
        for warning in outcome.warnings:
            self._say(f"warning: {warning}")
        with explained(f"Cannot write to {self.folder}: {{reason}}.", OSError):
            outcome.artefacts.save(self.folder, source.name)
            outcome.result.save(self._file(source))

    def merge(self) -> Result:
        """Add up the Results of all bags but those that failed, in the order of the bags; write the sum and return it.

        Each bag's Result was taken in this run, or found to be there: a bag that has changed since is the next run's.

        Raises:
            QueryDiffError: if no bag could be evaluated.
        """
        files = [self._file(source) for source in self._sources if source not in self._failures]
        if not files:
            raise next(iter(self._failures.values()))
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
            result, fingerprint = Result.load(self._file(source)), source.fingerprint
        except QueryDiffError:
            return False
        return (
            result.settings == self._options.settings
            and result.model.get("sha256") == self._model_sha256
            and result.model.get("path") == (self._options.engine.model or "default")
            and [entry.get("fingerprint") for entry in result.data] == [fingerprint]
        )


def print_report(result: Result) -> None:
    """Print a row for each condition, and what was measured online for each bag."""
    entries = [BagEntry.from_json(entry) for entry in result.data]
    table = Table(title=f"{result.model['variant']} on {result.model['engine']}", title_justify="left")
    for name in ("condition", "frames", "mIoU", "pixel accuracy", "ECE", "confidence", "labels kept"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for name in dict.fromkeys(name for entry in entries for name in entry.conditions):
        summaries = [entry.conditions[name] for entry in entries if name in entry.conditions]
        domain = result.domain(name)
        scores = (domain.miou, domain.pixel_accuracy, domain.ece) if domain else (None, None, None)
        means = (_mean(summaries, "confidence"), _mean(summaries, "temporal_consistency"))
        table.add_row(name, str(sum(each.frames for each in summaries)), *map(percent, (*scores, *means)))
    console().print(table)
    for entry in entries:
        if entry.online:
            print(f"{entry.bag}: {_online(entry.online)}")


def _mean(summaries: list[ConditionSummary], key: str) -> float | None:
    """Return the mean over frames of what each bag has a mean of."""
    known = [(getattr(each, key), each.frames) for each in summaries if getattr(each, key) is not None]
    return sum(share * frames for share, frames in known) / sum(frames for _, frames in known) if known else None


def _online(online: OnlineStatistics) -> str:
    labelled, published = (
        f"{rate:.1f} Hz" if rate else "-" for rate in (online.rate_labelled_hz, online.rate_published_hz)
    )
    latency = online.latency_from_stamp_ms
    return (
        f"{online.frames_labelled} of {online.frames_published} frames labelled "
        f"({100 * online.drop_rate:.1f} % dropped), {labelled} held of {published}, latency from stamp "
        f"p50 {latency.p50:.0f} ms, p99 {latency.p99:.0f} ms."
    )
