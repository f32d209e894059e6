"""The measurements of engines, and their table in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from querydiff_core.benchmark.engine_process import EngineFacts
from querydiff_core.utils.terminal import console, percent


@dataclass
class EngineTimes:
    """Seconds of single calls. `total`: with images of the camera's size; `network`: of the network's own size.

    The two differ by what resizing takes: engines do their pre- and post-processing inside one graph, so that no clock
    can stand between the stages. `network` is empty for an engine into which the camera's size is built. `memory`: peak
    of the process in bytes, None if it had ended. `equal`: share of labels that equal the reference's, None without
    one. `miou`: 0 to 1 by domain, of what it was scored on.
    """

    name: str
    facts: EngineFacts
    batch: int = 1
    total: list[float] = field(default_factory=list)
    network: list[float] = field(default_factory=list)
    memory: int | None = None
    equal: float | None = None
    miou: dict[str, float | None] = field(default_factory=dict)

    def latency(self, percentile: float) -> float:
        """Return that percentile of a call's milliseconds."""
        return 1000 * float(np.percentile(self.total, percentile))

    @property
    def network_latency(self) -> float | None:
        """Return the median milliseconds of a call with images of the network's own size, None if it takes none."""
        return 1000 * float(np.median(self.network)) if self.network else None

    @property
    def resizing(self) -> float | None:
        """Return the median milliseconds that going from the camera's size and back adds, None if not measured."""
        return 1000 * float(np.median(np.subtract(self.total, self.network))) if self.network else None

    @property
    def images_per_second(self) -> float:
        """Return the throughput at the median latency."""
        return 1000 * self.batch / self.latency(50)

    def speed(self, reference: EngineTimes) -> float:
        """Return how many times as fast as `reference` it is: the median over calls made next to each other."""
        pairs = zip(self.total, reference.total, strict=False)  # Ctrl-C may leave one without its partner
        return float(np.median([theirs / ours for ours, theirs in pairs]))

    def as_json(self) -> dict[str, Any]:
        """Return everything, as JSON can hold it."""
        facts = {**vars(self.facts), "network": list(self.facts.network), "load_seconds": self.facts.load}
        facts.pop("load")
        return {
            "name": self.name,
            **facts,
            "batch": self.batch,
            "latency_ms": {"p50": self.latency(50), "p99": self.latency(99)},
            "network_ms": self.network_latency,
            "resizing_ms": self.resizing,
            "images_per_second": self.images_per_second,
            "peak_memory_bytes": self.memory,
            "labels_equal": self.equal,
            "miou": self.miou,
            "seconds": self.total,
        }


def print_times(times: Sequence[EngineTimes], title: str, reference: EngineTimes) -> None:
    """Print one row for each engine; speeds are in multiples of `reference`'s, and mIoU has a table of its own."""
    table = Table(title=title, title_justify="left", padding=(0, 0, 0, 1))  # so that 80 columns hold it
    table.add_column("engine", overflow="fold", min_width=12)
    for name in ("p50\n(ms)", "p99\n(ms)", "network\n(ms)", "resize\n(ms)", "images\n/s", "speed", "memory\n(MB)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("labels\nequal", justify="right", no_wrap=True)
    for row in times:
        numbers = [row.latency(50), row.latency(99), row.network_latency, row.resizing, row.images_per_second]
        table.add_row(
            f"{_short(row, times)}\n{row.facts.engine} {row.facts.device}",
            *("-" if number is None else f"{number:.1f}" for number in numbers),
            f"{row.speed(reference):.2f}x",
            "-" if row.memory is None else f"{row.memory / 1e6:.0f}",
            "-" if row.equal is None else f"{row.equal:.2%}",
        )
    console().print(table)
    if domains := list(dict.fromkeys(domain for row in times for domain in row.miou)):
        console().print(_accuracy_table(times, domains))


def _accuracy_table(times: Sequence[EngineTimes], domains: Sequence[str]) -> Table:
    """Return mIoU on each domain beside the median time of a call."""
    table = Table(title="mIoU, %, beside the time of a call", title_justify="left")
    table.add_column("engine", overflow="fold", min_width=12)
    for name in ("p50 (ms)", *domains):
        table.add_column(name.replace("_", " "), justify="right")
    for row in times:
        scores = (percent(row.miou.get(domain)) for domain in domains)
        table.add_row(_short(row, times), f"{row.latency(50):.1f}", *scores)
    return table


def _short(row: EngineTimes, times: Sequence[EngineTimes]) -> str:
    """Return the file's name where no other engine has the same, else its path."""
    name = Path(row.name).name
    return name if [Path(other.name).name for other in times].count(name) == 1 else row.name
