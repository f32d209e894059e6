"""Show what was measured in the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.table import Table

from querydiff_core.benchmark.engine_times import EngineTimes


def print_times(times: Sequence[EngineTimes], title: str, reference: EngineTimes) -> None:
    """Print one row for each engine; speeds are in multiples of `reference`'s."""
    table = Table(title=title, title_justify="left")
    table.add_column("engine", overflow="fold", min_width=12)
    for name in ("p50\n(ms)", "p99\n(ms)", "network\n(ms)", "resize\n(ms)", "images\n/s", "speed", "memory\n(MB)"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("labels\nequal", justify="right", no_wrap=True)
    for row in times:
        numbers = [row.latency(50), row.latency(99), row.network_latency, row.resizing, row.images_per_second]
        table.add_row(
            f"{_short(row, times)}\n{row.facts.engine} {row.facts.device}",
            *(f"{number:.1f}" for number in numbers),
            f"{row.speed(reference):.2f}x",
            f"{row.memory / 1e6:.0f}",
            "-" if row.equal is None else f"{row.equal:.2%}",
        )
    Console().print(table)


def _short(row: EngineTimes, times: Sequence[EngineTimes]) -> str:
    """Return the file's name where no other engine has the same, else its path."""
    name = Path(row.name).name
    return name if [Path(other.name).name for other in times].count(name) == 1 else row.name
