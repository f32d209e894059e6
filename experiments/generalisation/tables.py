"""The ladder's tables in Markdown."""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np
from plan import Plan, Rung
from scores import Scores, mean, spread


def table(scores: Scores, rungs: Sequence[Rung]) -> str:
    """Return mIoU in percent, a row a rung and a column a domain, with how many seeds were scored."""
    rows = []
    for rung in rungs:
        points = scores.points(rung)
        cells = [_with(m, s, "{:.1f}") for m, s in zip(mean(points), spread(points), strict=True)]
        rows.append([rung.name, f"{int(np.isfinite(points[:, 0]).sum())} of {len(points)}", *cells])
    return markdown(["rung", "seeds", *scores.domains], rows)


def differences(scores: Scores, rungs: Sequence[Rung], base: Rung) -> str:
    """Return paired differences to `base` in points, in bold where the interval leaves 0 out."""
    rows = []
    for rung in rungs:
        if rung != base:
            gain, half = scores.difference(rung, base)
            cells = [
                _bold(_with(g, h, "{:+.1f}"), abs(g) > h if np.isfinite(h) else False)
                for g, h in zip(gain, half, strict=True)
            ]
            rows.append([rung.name, *cells])
    return markdown(["rung", *scores.domains], rows)


def failures(plan: Plan, scores: Scores) -> list[str]:
    """Return a sentence for each run that diverged, or needs one that did, and one for what is not done."""
    found = []
    for rung in plan.rungs:
        for seed in plan.seeds(rung):
            run = plan.run(rung, seed)
            if scores.diverged(rung, seed):
                says = run.record().says.removeprefix("error: ").split(" for ")[0]
                found.append(f"**Diverged: {rung.name}, seed {seed}.** {says}. It has no score and is not run again.")
            elif run.blocked:
                found.append(f"**Left out: {rung.name}, seed {seed}.** It needs a run that diverged.")
    missing = [step.name for step in plan.steps if not step.record().done and not step.blocked]
    if missing:
        found.append(f"**Not finished:** {len(missing)} of {len(plan.steps)} steps, {missing[0]} for one.")
    return found


def times(plan: Plan) -> str:
    """Return the time by stage."""
    rows, total = [], np.zeros(2)
    for stage in dict.fromkeys(step.stage for step in plan.steps):
        of_stage = [step for step in plan.steps if step.stage == stage]
        records = [step.record() for step in of_stage]
        seconds = np.array([[record.cpu_seconds, record.wall_seconds] for record in records]).sum(0)
        total += seconds
        earlier = [
            f"{step.name}: {record.facts['earlier']}"
            for step, record in zip(of_stage, records, strict=True)
            if "earlier" in record.facts
        ]
        done = f"{sum(record.done for record in records)} of {len(records)}"
        rows.append([stage, done, *_minutes(seconds), "; ".join(earlier)])
    rows.append(["all", f"{sum(s.record().done for s in plan.steps)} of {len(plan.steps)}", *_minutes(total), ""])
    return markdown(["stage", "steps done", "CPU, min", "sum of their wall-clock, min", ""], rows)


def costs(plan: Plan) -> str:
    """Return the CPU time of a run by rung."""
    rows = []
    for rung in plan.rungs:
        records = [plan.run(rung, seed).record() for seed in plan.seeds(rung)]
        seconds = [record.cpu_seconds for record in records if record.done]
        if seconds:
            rows.append([rung.name, f"{np.mean(seconds):.0f}", f"{np.mean(seconds) / plan.settings.steps:.2f}"])
    return markdown(["rung", "CPU of a run, s", "a step, s"], rows)


def given(plan: Plan) -> list[str]:
    """Return what each diffusion model painted in the time that teaching cost."""
    found = []
    for teacher in plan.settings.teachers:
        folder = plan.settings.folder / f"given_{teacher}"
        if (folder / "given.json").exists():
            made = json.loads((folder / "given.json").read_text())
            said = next(line for line in reversed((folder / "log.txt").read_text().splitlines()) if line.strip())
            found.append(f"The teacher `{teacher}` as a giver: {said} ({made['images']} in all).")
    return found


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _with(value: float, around: float, form: str) -> str:
    if not np.isfinite(value):
        return "–"
    return form.format(value) + (f" ± {around:.1f}" if np.isfinite(around) else "")


def _bold(text: str, clear: bool) -> str:
    return f"**{text}**" if clear else text


def _minutes(seconds: np.ndarray) -> list[str]:
    return [f"{value / 60:.1f}" for value in seconds]
