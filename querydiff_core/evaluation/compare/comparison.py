"""Results side by side, by domain and class."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.compare.bootstrap import MiouDifference, miou_difference
from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.evaluation.result import Result


@dataclass(frozen=True)
class Comparison:
    """Results by name; the first is what the others are held against.

    Raises:
        QueryDiffError: if there are fewer than two, two of one name, or a domain is scored over different classes.
    """

    results: dict[str, Result]

    def __post_init__(self) -> None:
        if len(self.results) < 2:
            raise QueryDiffError("Comparing needs two results or more with different names: give NAME=RESULT.json.")
        for domain in self.domains:
            found = {name: one for name, result in self.results.items() if (one := result.domain(domain))}
            (first, one), *others = found.items()
            for name, other in others:
                if other.classes != one.classes:
                    raise QueryDiffError(
                        f"{domain} is scored over {len(one.classes)} classes ({one.mapping}) in {first} and over "
                        f"{len(other.classes)} ({other.mapping}) in {name}: evaluate one of them again."
                    )

    @classmethod
    def of(cls, results: Sequence[tuple[str, Result]]) -> Comparison:
        """Name the results, those of one name with a number."""
        names = [name for name, _ in results]
        named: dict[str, Result] = {}
        for name, result in results:
            numbers = (f"{name} {number}" for number in itertools.count(1))
            free = (new for new in numbers if new not in named and new not in names)
            named[next(free) if names.count(name) > 1 else name] = result
        return cls(named)

    @property
    def names(self) -> list[str]:
        """Return the results' names."""
        return list(self.results)

    @property
    def domains(self) -> list[str]:
        """Return the names of all domains, in the order of the results."""
        return list(dict.fromkeys(domain.name for result in self.results.values() for domain in result.domains))

    @property
    def classes(self) -> list[str]:
        """Return the names of all classes that some domain's truth has."""
        found = [domain.iou_by_class for result in self.results.values() for domain in result.domains]
        names = dict.fromkeys(name for scores in found for name in scores)
        return [name for name in names if any(scores.get(name) is not None for scores in found)]

    def miou(self, name: str, domain: str) -> float | None:
        """Return a result's mIoU on a domain, 0 to 1, or None."""
        found = self.results[name].domain(domain)
        return found.miou if found else None

    def mean_miou(self, name: str) -> float | None:
        """Return a result's mean mIoU over the domains that all results have; None if there are none."""
        mious = [[self.miou(other, domain) for other in self.names] for domain in self.domains]
        shared = [row[self.names.index(name)] for row in mious if None not in row]
        return float(np.mean(np.array(shared, np.float64))) if shared else None

    def gain(self, a: str, b: str) -> np.ndarray:
        """Return IoU of `b` less that of `a`, float64 `(classes, domains)`, -1 to 1; NaN where either lacks it."""
        rows = [[self._gain(a, b, class_name, domain) for domain in self.domains] for class_name in self.classes]
        return np.array(rows, np.float64).reshape(len(self.classes), len(self.domains))

    def difference(self, a: str, b: str, domain: str) -> MiouDifference | None:
        """Return the difference of mIoU with its interval over images; None without counts by image."""
        one, two = self.results[a].domain(domain), self.results[b].domain(domain)
        if one is None or two is None or one.by_image is None or two.by_image is None:
            return None
        return miou_difference(one.by_image, two.by_image)

    def _gain(self, a: str, b: str, class_name: str, domain: str) -> float:
        one, two = (_iou(self.results[name].domain(domain), class_name) for name in (a, b))
        return float("nan") if one is None or two is None else two - one


def _iou(domain: DomainResult | None, class_name: str) -> float | None:
    return domain.iou_by_class.get(class_name) if domain else None
