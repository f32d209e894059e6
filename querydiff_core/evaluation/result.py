"""What an evaluation found, as a file: measure once, compare later."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.evaluation.domain_result import DomainResult
from querydiff_core.utils.atomic_file import atomic_file

FORMAT = 1
"""Version of the file's layout."""


@dataclass(frozen=True)
class Result:
    """A model's scores by domain, with what is needed to measure them again.

    Attributes:
        model: file name, sha256, variant, engine, device and input size.
        data: what was evaluated, a dictionary a source: data set, split, condition, images, fingerprint.
        settings: how: window, stride, test size.
        versions: of this package and of what ran the model.
        domains: the scores.
        format: version of the file's layout.
    """

    model: dict[str, Any]
    data: list[dict[str, Any]]
    settings: dict[str, Any]
    versions: dict[str, str]
    domains: tuple[DomainResult, ...]
    format: int = FORMAT

    @property
    def miou(self) -> float | None:
        """Return the mean over domains of their mIoU, 0 to 1; None if no domain has one."""
        mious = [domain.miou for domain in self.domains if domain.miou is not None]
        return float(np.mean(mious)) if mious else None

    @property
    def images(self) -> int:
        """Return how many images were scored."""
        return sum(domain.images for domain in self.domains)

    def domain(self, name: str) -> DomainResult | None:
        """Return the domain of that name, or None."""
        return next((domain for domain in self.domains if domain.name == name), None)

    def merge(self, other: Result) -> Result:
        """Return both together: domains of one name are added up, others stand side by side.

        Raises:
            QueryDiffError: if the models or settings differ, or a domain's classes do.
        """
        for what in ("model", "settings"):
            mine, theirs = getattr(self, what), getattr(other, what)
            if mine != theirs:
                key = next(k for k in sorted(mine | theirs) if mine.get(k) != theirs.get(k))
                raise QueryDiffError(
                    f"Results of one model and one way to run it can be merged, but their {what} differ: {key} is "
                    f"{mine.get(key)} and {theirs.get(key)}."
                )
        merged = {domain.name: domain for domain in self.domains}
        for domain in other.domains:
            merged[domain.name] = merged[domain.name].merge(domain) if domain.name in merged else domain
        new = [source for source in other.data if source not in self.data]
        return replace(self, data=self.data + new, domains=tuple(merged.values()))

    def to_json(self) -> str:
        """Return the file's text; scores are written along for readers, but reading takes the counts alone."""
        raw = {
            "format": self.format,
            "model": self.model,
            "data": self.data,
            "settings": self.settings,
            "versions": self.versions,
            "images": self.images,
            "miou": self.miou,
        }
        head = json.dumps(raw, indent=2, allow_nan=False).removesuffix("\n}")
        # A line a domain: counts by image are long, and indented they would fill pages.
        domains = ",\n    ".join(json.dumps(domain.to_json(), allow_nan=False) for domain in self.domains)
        return f'{head},\n  "domains": [\n    {domains}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, text: str, source: str = "The result") -> Result:
        """Read the text of a result file; `source` names it in errors.

        Raises:
            QueryDiffError: if it is of another version, damaged or no result at all.
        """
        with explained(f"{source} is no whole JSON file ({{reason}}): evaluate again.", ValueError):
            raw = json.loads(text)
        if not isinstance(raw, dict) or "format" not in raw:
            raise QueryDiffError(f"{source} is no result of an evaluation: expected JSON with the key format.")
        if raw["format"] != FORMAT:
            raise QueryDiffError(
                f"{source} is of format {raw['format']} and this version reads format {FORMAT}: evaluate again."
            )
        try:
            domains = tuple(DomainResult.from_json(domain) for domain in raw["domains"])
            data = [dict(entry) for entry in raw["data"]]
            return cls(dict(raw["model"]), data, dict(raw["settings"]), dict(raw["versions"]), domains)
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise QueryDiffError(f"{source} is damaged ({type(error).__name__}: {error}): evaluate again.") from error

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            QueryDiffError: if it cannot be written.
        """
        with atomic_file(path) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> Result:
        """Read a result file.

        Raises:
            QueryDiffError: if it is missing, of another version, damaged or no result at all.
        """
        unreadable = f"{path} cannot be read as a result ({{reason}}): give a file that evaluate wrote."
        with explained(unreadable, OSError, UnicodeDecodeError):
            text = Path(path).read_text(encoding="utf-8")
        return cls.from_json(text, str(path))
