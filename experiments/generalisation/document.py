"""Write the page of the study, docs/generalisation.md, with its pictures and the file of all scores."""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from pictures import write_pictures
from plan import Plan
from scores import REAL, SHIFTED, Scores
from tables import augmentation, comparison_table, failures, instruments_table, scores_table, times, write_csv
from variants import HERE, IDD_FEATURES, REAL_SETS, STREETS, STREETS_FEATURES

from querydiff_core.utils.atomic_file import atomic_file

FINDINGS = "findings.md"
HEAD = """\
# Does the diffusion teacher help? A small study

Written by `python experiments/generalisation/run.py`: run it again instead of editing this page. All numbers are
measured here. [The file of scores]({csv}) adds deviations and differences by domain, to agent queries and to plain.
"""
SETUP = """\
At a scale that two CPU cores can manage, students (`{student}`) learn from street scenes in clear weather and are
scored in other weather and on real streets. Every run begins with the backbone, the pixel decoder and the per-pixel
head of one common start (ImageNet's weights and {start_steps} steps along the pixel path); everything else starts from
scratch. All variants take {steps} steps of {batch} crops of {crop}, and a seed gives every variant the same crops.

| variant | what it is |
|---|---|
| plain | learned queries without refinement, as in Mask2Former |
| agent queries | agent queries and refinement, no teacher |
| image queries | the same, with options that let the image through ([what each does](method.md)) |
| tokens | the authors' arrangement: a frozen backbone steered by Rein's tokens, which are the queries |
| Rein | a frozen backbone steered by Rein's tokens; learned queries |
| full QueryDiff | agent queries with the consistency loss; + L_sup and + L_dist with one of its terms, of `control` |
| diffusion augmentation | agent queries; the diffusion model does not teach but paints over source images, for as \
long as teaching takes; half of all samples are painted |

Teachers: `control`, ImageNet features and no diffusion model; {corpora}. The loss is summed over pixels, its
similarities have a spread of 2, the queries themselves are supervised, and alpha holds its gradient at the queries at
15 % of the segmentation loss's (`taught.yaml`).
"""
PART = """\
[The study](generalisation.md) describes the setup and the tables; this page has the variants with {words} in
their name and those they are compared with.
"""
CORPORA = {
    STREETS: "`streets`, a latent diffusion of {autoencoder_steps} and {denoiser_steps} steps on the scenes that "
    "students learn from",
    STREETS_FEATURES: "`streets features`, the same on ImageNet features",
    IDD_FEATURES: "`idd features`, on those of 1,403 unlabelled photographs of roads (IDD Lite)",
}
SCORED = f"""\
Percent, mean over seeds. Each generated domain has {{count}} scenes and 19 classes; CamVid's `val` (day) and
the dusk drive of its training half have 11; of BDD100K there are 22 frames, of Cityscapes 8. The network sees
{{rows}} x {{columns}} pixels once, and labels are scored at the size of the image. *{SHIFTED}* and *{REAL}* are means
of the domains before them, without clear."""
PAIRED = """\
Points of mIoU: the mean over seeds of the difference to agent queries with the same seed, ± half of Student's 95 %
interval over seeds, in bold where the interval leaves 0 out. It says nothing about the choice of scenes. *By the
teacher* is the difference to the same student without one."""
INSTRUMENTS = """\
Percent, means over seeds, on CamVid by day: the share of the agent queries' variance that lies between images, what
mIoU loses with another image's queries, with their mean and without what tokens steer, and at the last measurement
the gradient of alpha L_diff as a share of L_seg's."""
CAPTIONS = {
    "gain": "Gain of the full method over the plain student by class and domain, counts summed over seeds",
    "panels": "Input, plain student, full method and ground truth, seed 0: the scene of each generated domain where "
    "the two differ most",
    "similarity": "The agent query that each cell attends to most (Eq. 8), full method, seed 0",
}
ON_A_GPU = """\
    python experiments/generalisation/run.py --device cuda --steps 4000 --start-steps 4000 --scenes 10000 \\
        --autoencoder-steps 10000 --denoiser-steps 30000"""


def write_document(plan: Plan, path: Path, jobs: int) -> None:
    """Write the page about what is done so far, its pictures (into `images/` beside it) and its file of scores."""
    scores = Scores(plan)
    written = write_pictures(plan, scores, path.parent / "images" / path.stem)
    write_csv(scores, path.with_suffix(".csv"))
    parts = [
        _head(plan, path.with_suffix(".csv").name),
        *failures(plan, scores),
        *_results(plan, scores),
        *_findings(plan),
        *_pictures(written),
        *_run(plan, jobs),
    ]
    with atomic_file(path) as temporary:
        temporary.write_text("\n".join(part.strip("\n") + "\n" for part in parts if part))


def digest(plan: Plan) -> str:
    """Return a digest of the settings of all steps."""
    text = "".join(step.settings for step in plan.steps)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _head(plan: Plan, csv: str) -> str:
    settings = plan.settings
    crop = f"{settings.crop[0]} x {settings.crop[1]}"
    corpora = "; ".join(
        text.format(**settings.described()) for each, text in CORPORA.items() if each in settings.teachers
    )
    parts = [HEAD.format(csv=csv)]
    if settings.only:
        parts.append(PART.format(words=" or ".join(f'"{word}"' for word in settings.only)))
    else:
        parts.append(SETUP.format(**{**settings.described(), "crop": crop, "corpora": corpora}))
    if settings.idd is None:
        parts.append("No folder of real road images was there, so the teacher that learns from them is left out.\n")
    if missing := [name for name in REAL_SETS if name not in settings.real]:
        parts.append(f"Left out, as there was no folder: {', '.join(missing)}.\n")
    return "\n".join(parts)


def _results(plan: Plan, scores: Scores) -> list[str]:
    if not scores.results:
        return ["No run has been scored yet."]
    settings = plan.settings
    scored = SCORED.format(count=settings.targets, rows=settings.crop[0], columns=settings.crop[1])
    return [
        "## mIoU by domain",
        "" if settings.only else scored,
        scores_table(scores),
        "## Paired differences to agent queries",
        "" if settings.only else PAIRED,
        comparison_table(plan, scores),
        _counted(scores),
        *(["## What the instruments say", INSTRUMENTS, instruments_table(plan, scores)] if settings.real else []),
    ]


def _counted(scores: Scores) -> str:
    """Return how often a taught variant differs from the same one without a teacher."""
    better = worse = cells = 0
    for variant in scores.variants:
        if variant.untaught is not None:
            gain, half = scores.difference(variant, variant.untaught)
            cells += int(np.isfinite(half).sum())
            better += int((gain - half > 0).sum())
            worse += int((gain + half < 0).sum())
    return (
        f"Over all domains, {better} of {cells} intervals of taught variants less untaught ones lie above 0 and "
        f"{worse} below; one in twenty leaves 0 out by chance."
    )


def _findings(plan: Plan) -> list[str]:
    """Return the findings that were written by hand about exactly these settings."""
    first, _, text = (HERE / FINDINGS).read_text().partition("\n")
    if digest(plan) in first:
        return ["## What was found", text]
    return ["The findings that were written by hand are about other settings and left out."]


def _pictures(written: Sequence[Path]) -> list[str]:
    parts = []
    for file in written:
        caption = CAPTIONS[file.stem.rpartition("_")[2]]
        parts.append(f"![](images/{file.name})\n\n*{caption}.*")
    return ["## Pictures", *parts] if parts else []


def _run(plan: Plan, jobs: int) -> list[str]:
    settings = ", ".join(f"{name} {_words(value)}" for name, value in plan.settings.described().items())
    return [
        "## The run",
        f"{_machine(plan.settings.device)}; {jobs} at a time. Settings: {settings} (digest {digest(plan)}).",
        f"{times(plan)} {augmentation(plan)}",
        *([] if plan.settings.only else ["With a GPU:", ON_A_GPU]),
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
