"""The tables of the study, in Markdown and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from plan import Plan
from scores import CLEAR, REAL, SHIFTED, Scores, mean, spread
from variants import AGENT, PLAIN, STREETS, Variant

from querydiff_core.utils.atomic_file import atomic_file


def scores_table(scores: Scores) -> str:
    """Return the mean mIoU in percent, one row for each variant and one column for each domain."""
    rows = []
    for variant in scores.variants:
        cells = ["–" if np.isnan(value) else f"{value:.1f}" for value in mean(scores.points(variant))]
        seeds = sum(scored == variant for scored, _ in scores.results)
        rows.append([variant.name, str(seeds), *cells])
    return markdown(["variant", "seeds", *scores.domains], rows)


def comparison_table(plan: Plan, scores: Scores) -> str:
    """Return paired differences in points, in bold where the interval leaves 0 out, and costs.

    They are to agent queries, and on the real domains also to the same student without a teacher.
    """
    shown = [domain for domain in (CLEAR, SHIFTED, REAL) if domain in scores.domains] or scores.domains
    rows = []
    for variant in scores.variants:
        cells = _gains(scores, variant, None if variant == AGENT else AGENT, shown)
        cells += _gains(scores, variant, variant.untaught, shown[-1:])
        rows.append([variant.name, *cells, _cost(plan, variant)])
    return markdown(["variant", *shown, f"{shown[-1]}, by the teacher", "CPU of a run, s"], rows)


def instruments_table(plan: Plan, scores: Scores) -> str:
    """Return what the agent queries hold and how strongly they are taught, in percent: means over seeds."""
    head = ["variant", "variance between images", "lost with another image's", "with their mean", "without steering"]
    rows = []
    for variant in scores.variants:
        if variant.has_agent_queries and not variant.augments:
            measured = [scores.instruments(variant, seed) for seed in plan.seeds if (variant, seed) in scores.results]
            values = [[value for value in column if value is not None] for column in zip(*measured, strict=True)]
            rows.append([variant.name, *(f"{100 * np.mean(column):.2f}" if column else "" for column in values)])
    return markdown([*head, "gradient at queries", "in the backbone"], rows)


def write_csv(scores: Scores, file: Path) -> None:
    """Write every score and paired difference: one row for each variant and domain."""
    with atomic_file(file) as temporary, temporary.open("w", newline="") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        bases = [f"{what}_{base.slug}" for base in (AGENT, PLAIN) for what in ("less", "half_interval_less")]
        writer.writerow(["variant", "domain", "miou", "deviation", *bases])
        for variant in scores.variants:
            points = scores.points(variant)
            columns = [mean(points), spread(points)]
            columns += [column for base in (AGENT, PLAIN) for column in scores.difference(variant, base)]
            for domain, *values in zip(scores.domains, *columns, strict=True):
                cells = [f"{value:.1f}" if np.isfinite(value) else "" for value in values]
                writer.writerow([variant.name, domain, *cells])


def failures(plan: Plan, scores: Scores) -> list[str]:
    """Return a sentence for each run that diverged, or needs one that did, and one for what is not done."""
    found = []
    for variant in plan.variants:
        for seed in plan.seeds:
            run = plan.run(variant, seed)
            if scores.diverged(variant, seed):
                says = run.record().message.removeprefix("error: ").split(" for ")[0]
                found.append(
                    f"**Diverged: {variant.name}, seed {seed}.** {says}. It has no score and is not run again."
                )
            elif run.blocked:
                found.append(f"**Left out: {variant.name}, seed {seed}.** It needs a run that diverged.")
    missing = [step.name for step in plan.steps if not step.record().done and not step.blocked]
    if missing:
        found.append(f"**Not finished:** {len(missing)} of {len(plan.steps)} steps, {missing[0]} for one.")
    return found


def times(plan: Plan) -> str:
    """Return how long each stage took, in one sentence."""
    parts, total = [], 0.0
    for stage in dict.fromkeys(step.stage for step in plan.steps):
        seconds = sum(step.record().cpu_seconds for step in plan.steps if step.stage == stage)
        total += seconds
        parts.append(f"{stage} {seconds / 60:.0f}")
    done = sum(step.record().done for step in plan.steps)
    return f"{done} of {len(plan.steps)} steps took {total / 60:.0f} minutes of CPU time: {', '.join(parts)}."


def augmentation(plan: Plan) -> str:
    """Return what the diffusion model painted in the time that distillation took."""
    folder = plan.settings.folder / "augmented"
    if not (folder / "augmentation.json").exists():
        return ""
    lines = [line for line in (folder / "log.txt").read_text().splitlines() if line.strip()]
    return f"The teacher `{STREETS.name}` painted {lines[-1]}."


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _gains(scores: Scores, variant: Variant, base: Variant | None, shown: Sequence[str]) -> list[str]:
    """Return the differences to `base` on the domains that are `shown`; nothing where there is no base."""
    if base is None:
        return ["" for _ in shown]
    differences = zip(*scores.difference(variant, base), strict=True)
    found = dict(zip(scores.domains, differences, strict=True))
    texts = {domain: _with(*found[domain]) for domain in shown}
    beyond = {domain for domain, (gain, half) in found.items() if np.isfinite(half) and abs(gain) > half}
    return [f"**{text}**" if domain in beyond else text for domain, text in texts.items()]


def _with(value: float, around: float) -> str:
    if not np.isfinite(value):
        return "–"
    return f"{value:+.1f}" + (f" ± {around:.1f}" if np.isfinite(around) else "")


def _cost(plan: Plan, variant: Variant) -> str:
    """Return the mean CPU seconds of the runs of a variant."""
    records = [plan.run(variant, seed).record() for seed in plan.seeds]
    seconds = [record.cpu_seconds for record in records if record.done]
    return f"{np.mean(seconds):.0f}" if seconds else "–"
