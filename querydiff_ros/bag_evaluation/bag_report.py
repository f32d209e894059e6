"""Show in the terminal what bags gave."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.table import Table

from querydiff_core.evaluation.result import DomainResult, Result


def print_report(result: Result) -> None:
    """Print a row for each condition, and what was measured online for each bag."""
    console = Console()
    table = Table(title=f"{result.model['variant']} on {result.model['engine']}", title_justify="left")
    for name in ("condition", "frames", "mIoU", "pixel accuracy", "ECE", "confidence", "labels kept"):
        table.add_column(name, justify="left" if name == "condition" else "right")
    for condition in dict.fromkeys(name for entry in result.data for name in entry["conditions"]):
        table.add_row(condition, *_row(result, condition))
    console.print(table)
    for entry in result.data:
        if "online" in entry:
            print(_online(entry))


def _row(result: Result, condition: str) -> list[str]:
    entries = [entry["conditions"][condition] for entry in result.data if condition in entry["conditions"]]
    domain: DomainResult | None = result.domain(condition)
    scores = (domain.miou, domain.pixel_accuracy, domain.ece) if domain else (None, None, None)
    means = (_mean(entries, "confidence"), _mean(entries, "temporal_consistency"))
    return [str(sum(entry["frames"] for entry in entries)), *map(_percent, (*scores, *means))]


def _mean(entries: list[dict[str, Any]], key: str) -> float | None:
    """Return the mean over frames of what each bag has a mean of."""
    known = [(entry[key], entry["frames"]) for entry in entries if entry[key] is not None]
    return sum(share * frames for share, frames in known) / sum(frames for _, frames in known) if known else None


def _online(entry: dict[str, Any]) -> str:
    online = entry["online"]
    latency = online["latency_from_stamp_ms"]
    rates = [f"{online[key]:.1f} Hz" if online[key] else "-" for key in ("rate_labelled_hz", "rate_published_hz")]
    return (
        f"{entry['bag']}: {online['frames_labelled']} of {online['frames_published']} frames labelled "
        f"({100 * online['drop_rate']:.1f} % dropped), {rates[0]} held of {rates[1]}, latency from stamp "
        f"p50 {latency['p50']:.0f} ms, p99 {latency['p99']:.0f} ms."
    )


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{100 * share:.1f}"
