"""What to score on: a domain's name and its labelled images."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from querydiff_core.data.data_source import DATA_SETS, data_set
from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping

SET_NAMES = frozenset(kind.name for kind in DATA_SETS)
EACH = "each"
"""The condition that means: every one as a domain of its own."""


@dataclass(frozen=True)
class EvaluationSource:
    """`domain`: name in the result. `data_set`: by name. `pairs`: images and labels. `origin`: how to find them again.

    Raises:
        QueryDiffError: if an image has no labels.
    """

    domain: str
    data_set: str
    pairs: LabelledPairs
    origin: dict[str, Any]

    def __post_init__(self) -> None:
        if not self.pairs.labelled:
            raise QueryDiffError(
                f"{self.origin.get('root', self.pairs.root)} has no labels to score against: give a folder or a split "
                "that has them (--labels names a folder of labels)."
            )

    def to_json(self) -> dict[str, Any]:
        """Return what was evaluated, and its fingerprint: names and sizes of all files."""
        digest = hashlib.sha256()
        for files in self.pairs.pairs:
            for file in files:
                assert file is not None  # all are labelled
                digest.update(os.fsencode(f"{file.name} {file.stat().st_size}\n"))
        facts = {"domain": self.domain, "data_set": self.data_set, **self.origin}
        return facts | {"images": len(self.pairs), "fingerprint": digest.hexdigest()}


def sources(text: str) -> list[EvaluationSource]:
    """Return what `[<name>=]<set>=<root>[:split[:condition]]` asks for.

    The condition `each` gives one domain for each. The split is by default `val` where the set has one. A root may
    itself hold colons if the folder exists. The domain has that name, or is named after set, split and condition.

    Raises:
        QueryDiffError: if the text, the data set, its split or condition is wrong, or its files are.
    """
    title, name, rest = _words(text)
    root, split, condition = (rest, "", "") if Path(rest).is_dir() else _parts(rest)
    reader = data_set(name)
    split = split or ("val" if "val" in reader.splits else "")
    if condition == EACH and not reader.conditions:
        raise QueryDiffError(f"{name} does not tell conditions: leave :{EACH} out.")
    wanted = reader.known_conditions(Path(root), split or None) if condition == EACH else [condition]
    several = title and condition == EACH
    return [_source(name, root, split, each, f"{title} {each}" if several else title) for each in wanted]


def reopen(facts: dict[str, Any]) -> EvaluationSource:
    """Open what a result says it was measured on: the dictionary that `EvaluationSource.to_json` returned.

    Raises:
        QueryDiffError: if it has moved or changed since.
    """
    root, domain = Path(facts["root"]), facts["domain"]
    if not root.is_dir():
        raise QueryDiffError(f"No folder {root}: {domain} was measured there, bring it back or evaluate again.")
    if "mapping" in facts:
        source = folder_source(domain, root, facts["labels"], facts["mapping"])
    else:
        source = _source(facts["data_set"], facts["root"], facts["split"] or "", facts["condition"] or "", domain)
    if source.to_json() != facts:
        raise QueryDiffError(f"{root} has changed since {domain} was measured on it: evaluate again.")
    return source


def folder_source(domain: str, images: Path, labels: str | None, mapping: str) -> EvaluationSource:
    """Return a folder of images and one of labels, paired by name, whose values `mapping` explains.

    Raises:
        QueryDiffError: if a folder or the mapping is missing, or the files do not pair.
    """
    pairs = LabelledFolder(images, labels, label_mapping(mapping))
    return EvaluationSource(domain, "folder", pairs, {"root": str(images), "labels": labels, "mapping": mapping})


def unique_domains(found: list[EvaluationSource]) -> list[EvaluationSource]:
    """Return `found`, refusing two domains of one name.

    Raises:
        QueryDiffError: naming the domain.
    """
    names = [source.domain for source in found]
    if repeated := next((name for name in names if names.count(name) > 1), None):
        raise QueryDiffError(
            f"{repeated} is asked for twice: give each data set, split and condition once, or give the domains names "
            "(--data NAME=SET=ROOT)."
        )
    return found


def _words(text: str) -> tuple[str, str, str]:
    """Return the domain's name ("" for none), the data set and the rest of what --data says."""
    first, equals, rest = text.partition("=")
    second, again, behind = rest.partition("=")
    root = rest.split(":")[0]
    named = again and second in SET_NAMES and not Path(root).is_dir()  # a root may hold = too
    title, name, rest = (first, second, behind) if named else ("", first, rest)
    if not (equals and name and rest):
        raise QueryDiffError(
            f"--data must be [NAME=]SET=ROOT[:SPLIT[:CONDITION]], such as acdc=ACDC:val:fog, found {text!r}."
        )
    return title, name, rest


def _source(name: str, root: str, split: str, condition: str, domain: str = "") -> EvaluationSource:
    pairs = data_set(name).open(Path(root), split or None, condition or None)
    origin = {"root": root, "split": split or None, "condition": condition or None}
    # `val` is what one evaluates on; any other split is worth saying.
    words = [name, split if split != "val" else "", condition]
    return EvaluationSource(domain or " ".join(filter(None, words)), name, pairs, origin)


def _parts(text: str) -> tuple[str, str, str]:
    root, *rest = text.split(":")
    if len(rest) > 2:
        raise QueryDiffError(f"No folder {text}, and more than ROOT:SPLIT:CONDITION.")
    split, condition = (*rest, "", "")[:2]
    return root, split, condition
