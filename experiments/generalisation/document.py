"""Write what the ladder found: docs/generalisation.md."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pictures import write_pictures
from plan import AGENT, HERE, PLAIN, Plan, described
from scores import REAL, SHIFTED, Scores
from tables import costs, differences, failures, given, table, times

from querydiff_core.utils.atomic_file import atomic_file

FINDINGS = "findings*.md"
HEAD = """\
# Does teaching help? A small ladder

Written by `python experiments/generalisation/run.py`, which runs the ladder or goes on where it stopped; run it again
instead of editing this page. All figures are measured here, none is the paper's.

The paper's shape at a scale that two cores can climb: learn from street scenes in clear weather, be scored in weather
and on streets never seen. The student is `{variant}`; every run begins with the backbone, the pixel decoder and the
per-pixel head of one common start (the pixel path of the plain student, {start_steps} steps of twice the crops), which
stands in for a pretrained backbone, and everything else anew. All rungs take {steps} steps of {batch} crops of
{crop}; a seed draws the same crops in every rung.

| rung | what it is |
|---|---|
| plain | learned queries, no refinement: Mask2Former's |
| agent queries | agent queries and refinement, no teacher |
| Rein, frozen backbone | the start's backbone frozen, low-rank tokens refine its four maps; learned queries |
| + L_sup, + L_dist | agent queries taught by one term of the consistency loss |
| full QueryDiff | agent queries taught by both |
| give | agent queries, no teacher; the same diffusion model paints over source images instead (image-to-image, empty \
text, labels kept), for as long as teaching would have cost; half of what is drawn |

The teachers are latent diffusions of `querydiff teacher train`, width `tiny`, {autoencoder_steps} and {denoiser_steps}
steps of 8 crops of {teacher_crop} x {teacher_crop}: {corpora}.
"""
CORPORA = {
    "streets": "`streets` on the clear scenes that the students learn from",
    "idd": "`idd` on 1,403 unlabelled real road images (IDD Lite), real yet not the target",
}

SCORED = f"""\
In %, mean and standard deviation over seeds. {{count}} scenes for each generated domain, 19 classes; CamVid's `val`
(day) and the dusk drive of its training half, 11 classes. Labels are scored at the images' own size, the network sees
{{rows}} x {{columns}}, one look. *{SHIFTED}* and *{REAL}* are means of the columns before them, clear left out."""
PAIRED = """\
Points of mIoU, mean over seeds of the difference to the run with the same seed, ± half of Student's 95 % interval over
seeds; in bold where that leaves 0 out. The interval is about seeds of training, not about the choice of scenes."""
CAPTIONS = {
    "gain": "Gain of the full method over the plain student by class and domain, counts summed over seeds",
    "panels": "Input, plain student, full method and ground truth, seed 0: of each generated domain the scene where "
    "the two differ most. Real images are not this project's to publish",
    "similarity": "Which agent query each cell attends to most (Eq. 8), full method, seed 0",
}
ON_A_GPU = """\
    python experiments/generalisation/run.py --device cuda --steps 4000 --start-steps 4000 --scenes 10000 \\
        --autoencoder-steps 10000 --denoiser-steps 30000"""


def write_document(plan: Plan, path: Path, jobs: int) -> None:
    """Write the page and its pictures, which go to `images/` beside it, of what is done so far."""
    scores = Scores(plan)
    written = write_pictures(plan, scores, path.parent / "images" / path.stem)
    parts = [
        _head(plan),
        *failures(plan, scores),
        *_results(plan, scores),
        *_findings(plan),
        *_pictures(written),
        *_run(plan, jobs),
    ]
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(part.strip("\n") + "\n" for part in parts))


def digest(plan: Plan) -> str:
    """Return a digest of the settings of everything that is scored."""
    text = "".join(step.settings for step in plan.steps)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _head(plan: Plan) -> str:
    settings = plan.settings
    crop = f"{settings.crop[0]} x {settings.crop[1]}"
    corpora = ", ".join(CORPORA[name] for name in settings.teachers)
    head = HEAD.format(**{**described(settings), "crop": crop, "corpora": corpora})
    if settings.idd is None:
        head += "\nNo folder of real road images was there, so the second teacher and its rungs are left out.\n"
    if settings.only:
        words = " or ".join(f'"{word}"' for word in settings.only)
        head += f"\nOnly plain, agent queries and the rungs with {words} in their name are on this page.\n"
    if settings.camvid is None:
        head += "\nNo folder of CamVid was there, so the real domains are left out.\n"
    return head


def _results(plan: Plan, scores: Scores) -> list[str]:
    if not scores.results:
        return ["No run has been scored yet."]
    return [
        "## mIoU by domain",
        SCORED.format(count=plan.settings.targets, rows=plan.settings.crop[0], columns=plan.settings.crop[1]),
        table(scores, [rung for rung in plan.rungs if not rung.extra]),
        "## Paired differences",
        PAIRED,
        f"Less **{AGENT.name}**:",
        differences(scores, [rung for rung in plan.rungs if not rung.extra], AGENT),
        f"Less **{PLAIN.name}**:",
        differences(scores, [rung for rung in plan.rungs if not rung.extra], PLAIN),
        _counted(plan, scores),
        *_sweep(plan, scores),
    ]


def _counted(plan: Plan, scores: Scores) -> str:
    """Return how often a taught rung differs from the untaught one, in words that follow from the numbers."""
    taught = [rung for rung in plan.rungs if rung.teacher and not rung.extra]
    better = worse = cells = 0
    for rung in taught:
        gain, half = scores.difference(rung, AGENT)
        cells += int(np.isfinite(half).sum())
        better += int((gain - half > 0).sum())
        worse += int((gain + half < 0).sum())
    return (
        f"Of {cells} intervals of the rungs that use a diffusion model, against agent queries alone, {better} lie "
        f"above 0, {worse} below and {cells - better - worse} hold it. One in twenty leaves it out by chance alone."
    )


def _sweep(plan: Plan, scores: Scores) -> list[str]:
    extra = [rung for rung in plan.rungs if rung.extra]
    if not extra:
        return []
    seeds = plan.settings.sweep
    text = f"The full method with one setting changed, {seeds} seed{'s' * (seeds > 1)}; less agent queries:"
    return ["### Sweep", text, differences(scores, extra, AGENT)]


def _findings(plan: Plan) -> list[str]:
    """Return what was written by hand about these very settings."""
    for file in HERE.glob(FINDINGS):
        first, _, text = file.read_text().partition("\n")
        if digest(plan) in first:
            return ["## What was found", text]
    return ["Findings written by hand are about other settings and left out."]


def _pictures(written: Sequence[Path]) -> list[str]:
    parts = []
    for file in written:
        caption = CAPTIONS[file.stem.rpartition("_")[2]]
        parts.append(f"![{caption}](images/{file.name})\n\n*{caption}.*")
    return ["## Pictures", *parts] if parts else []


def _run(plan: Plan, jobs: int) -> list[str]:
    settings = ", ".join(f"{name} {_words(value)}" for name, value in described(plan.settings).items())
    return [
        "## The run",
        f"{_machine(plan.settings.device)}; {jobs} at a time. Settings: {settings} (digest {digest(plan)}).",
        times(plan),
        "What a run costs, loading included:",
        costs(plan),
        *given(plan),
        "With a GPU:",
        ON_A_GPU,
    ]


def _words(value: object) -> str:
    return " ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def _machine(device: str) -> str:
    if device != "cpu":
        return f"{torch.cuda.get_device_name()}, PyTorch {torch.__version__}"
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or "CPU"
    return f"{name}, {os.cpu_count()} cores, Python {platform.python_version()}, PyTorch {torch.__version__}"
