"""The losses of a run as a CSV file that goes on where the run goes on."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from querydiff_core.utils.atomic_file import atomic_file


class LossRow(NamedTuple):
    """One value of the step `step` of a stage, counted from 1, or of a judgement after it."""

    stage: str
    step: int
    name: str
    value: float


class LossLog:
    """Rows of stage, step, name and value; kept in memory until `save`.

    Args:
        path: the CSV file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[LossRow] = []

    def add(self, stage: str, step: int, values: Mapping[str, float]) -> None:
        """Take down `values` by name."""
        self._rows += [LossRow(stage, step, name, value) for name, value in values.items()]

    def save(self) -> None:
        """Append what was taken down since the last time."""
        new = not self.path.exists()
        with self.path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow(LossRow._fields)
            writer.writerows(self._rows)
        self._rows.clear()

    def forget_after(self, stage: str, step: int) -> None:
        """Drop the rows of `stage` after `step`: they were written after the state that a run goes on from."""
        if not self.path.exists():
            return
        with self.path.open(newline="", encoding="utf-8") as file:
            head, *rows = csv.reader(file)
        kept = [row for row in rows if row[0] != stage or int(row[1]) <= step]
        with atomic_file(self.path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file, lineterminator="\n").writerows([head, *kept])
