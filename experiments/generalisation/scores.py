"""The numbers of the study: mIoU by variant, seed and domain, their means, spreads and paired differences."""

from __future__ import annotations

import dataclasses
from functools import cached_property, reduce

import numpy as np
from plan import Plan, student_file
from scipy.stats import t
from steps import DIVERGED
from variants import Variant

from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.query_exchange import EXCHANGED, MEAN, UNSTEERED, QueryReport
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.checkpoint import load_checkpoint

CLEAR = "clear"
SHIFTED, REAL = "other generated", "real"
"""Columns that are means: of the generated domains but the clear one, and of the real ones."""
LABELS = {"camvid": "CamVid day", "camvid train dusk": "dusk", "bdd100k": "BDD100K", "cityscapes": "Cityscapes"}


class Scores:
    """The scores of a plan so far.

    Attributes:
        plan: of the study.
        domains: names of the domains in the order of the table, the two means among them.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        first = next(iter(self.results.values()), None)
        names = [_label(domain.name) for domain in first.domains] if first else []
        generated = [name for name in names if name not in LABELS.values()]
        real = [name for name in names if name in LABELS.values()]
        self.domains = [*generated, *([SHIFTED] if generated[1:] else []), *real, *([REAL] if real[1:] else [])]

    @property
    def variants(self) -> list[Variant]:
        """Return the variants with a score, in the order of the tables."""
        scored = {variant for variant, _ in self.results}
        return [variant for variant in self.plan.variants if variant in scored]

    @cached_property
    def results(self) -> dict[tuple[Variant, int], Result]:
        """Return the result of every run that was scored."""
        found = {}
        for variant in self.plan.variants:
            for seed in self.plan.seeds:
                steps = self.plan.evaluations(variant, seed)
                if all(step.record().done for step in steps) and not self.diverged(variant, seed):
                    results = [Result.load(step.folder / "result.json") for step in steps]
                    found[variant, seed] = reduce(Result.merge, results)
        return found

    def diverged(self, variant: Variant, seed: int) -> bool:
        """Return whether the loss of a run stopped being finite."""
        return self.plan.run(variant, seed).record().state == DIVERGED

    def points(self, variant: Variant) -> np.ndarray:
        """Return mIoU in percent, `(seeds, domains)`; NaN for a run that diverged or is not done."""
        seeds = self.plan.seeds
        return np.array([[self._miou(variant, seed, domain) for domain in self.domains] for seed in seeds])

    def difference(self, variant: Variant, base: Variant) -> tuple[np.ndarray, np.ndarray]:
        """Return the mean over seeds of `variant` less `base` with the same seed, and half its 95 % interval.

        The interval is Student's over the seeds that both have; NaN for fewer than two.
        """
        found = self.points(variant) - self.points(base)
        return mean(found), half_interval(found)

    def instruments(self, variant: Variant, seed: int) -> tuple[float | None, ...]:
        """Return what a run's agent queries hold on the first real domain, and how strongly they were taught.

        Shares of 0 to 1: of their variance between images; mIoU lost with another image's, with their mean, and
        without the tokens' steering; of alpha L_diff's gradient by L_seg's at the queries and in the backbone, when
        it was last measured. None where there is none.
        """
        domains = self.results[variant, seed].domains
        measured = next((d.extra["agent_queries"] for d in domains if "agent_queries" in d.extra), None)
        _, metadata = load_checkpoint(student_file(self.plan.run(variant, seed)))
        gradients = [metadata.recipe["metrics"].get(f"teaching/{part}") for part in ("queries", "backbone")]
        if measured is None:
            return (None, None, None, None, *gradients)
        report = QueryReport(**measured)
        losses = [report.cost(given) if given in report.miou else None for given in (EXCHANGED, MEAN, UNSTEERED)]
        return (report.share_between_images, *losses, *gradients)

    def pooled(self, variant: Variant) -> Result | None:
        """Return one result whose counts are the sums over the seeds; None if no seed has any."""
        results = [result for (each, _), result in self.results.items() if each == variant]
        if not results:
            return None
        named = [[dataclasses.replace(d, name=_label(d.name), by_image=None) for d in r.domains] for r in results]
        domains = [reduce(DomainResult.merge, same) for same in zip(*named, strict=True)]
        return dataclasses.replace(results[0], domains=tuple(domains))

    def _miou(self, variant: Variant, seed: int, domain: str) -> float:
        result = self.results.get((variant, seed))
        if result is None:
            return float("nan")
        mious = {_label(d.name): 100 * (d.miou or 0.0) for d in result.domains}
        if domain == SHIFTED:
            return float(np.mean([v for name, v in mious.items() if name not in (CLEAR, *LABELS.values())]))
        if domain == REAL:
            return float(np.mean([v for name, v in mious.items() if name in LABELS.values()]))
        return mious[domain]


def mean(points: np.ndarray) -> np.ndarray:
    """Return the mean over seeds (the first axis), NaN where there is none."""
    counts = np.isfinite(points).sum(0)
    return np.where(counts > 0, np.nansum(points, 0) / np.maximum(counts, 1), np.nan)


def spread(points: np.ndarray) -> np.ndarray:
    """Return the sample standard deviation over seeds, NaN for fewer than two."""
    counts = np.isfinite(points).sum(0)
    squares = np.nansum((points - mean(points)) ** 2, 0)
    return np.where(counts > 1, np.sqrt(squares / np.maximum(counts - 1, 1)), np.nan)


def half_interval(points: np.ndarray, level: float = 0.95) -> np.ndarray:
    """Return half the width of Student's interval of the mean over seeds, NaN for fewer than two."""
    counts = np.isfinite(points).sum(0)
    quantile = t.ppf(0.5 + level / 2, np.maximum(counts - 1, 1))
    return quantile * spread(points) / np.sqrt(np.maximum(counts, 1))


def _label(domain: str) -> str:
    return LABELS.get(domain, domain.removeprefix("street_scenes "))
