"""The pictures of the study: where the method gains, what it labels differently, what its queries attend to."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
from plan import Plan, pictures
from scores import LABELS, Scores
from variants import CONTROL, PLAIN, Variant, full

from querydiff_core.evaluation.compare.charts import heat_map
from querydiff_core.evaluation.compare.comparison import Comparison
from querydiff_core.evaluation.compare.difference_panels import difference_panels
from querydiff_core.utils.image_files import read_image, write_image
from querydiff_core.utils.panels import grid, panel, titled
from querydiff_core.utils.plots import picture

PANELS_WIDTH = 1500
TILE = (384, 192)


def write_pictures(plan: Plan, scores: Scores, stem: Path) -> list[Path]:
    """Write the heat map, the panels and the similarity maps of what is done to `stem`_*; return the files."""
    best = full(CONTROL)
    found = {
        "gain": _heat_map(scores, best),
        "panels": _panels(scores, best),
        "similarity": _similarity(plan),
    }
    written = []
    for name, drawn in found.items():
        if drawn is not None:
            suffix = "png" if name == "gain" else "jpg"
            written.append(stem.with_name(f"{stem.name}_{name}.{suffix}"))
            write_image(written[-1], drawn)
    return written


def _heat_map(scores: Scores, best: Variant) -> np.ndarray | None:
    results = {variant.name: scores.pooled(variant) for variant in (PLAIN, best)}
    if any(result is None for result in results.values()):
        return None
    comparison = Comparison({name: result for name, result in results.items() if result})
    return picture(heat_map(comparison, PLAIN.name, best.name))


def _panels(scores: Scores, best: Variant) -> np.ndarray | None:
    """Return the scene of each shifted domain where the two differ most; real images are not ours to publish."""
    a, b = (scores.results.get((variant, 0)) for variant in (PLAIN, best))
    if a is None or b is None:
        return None
    rows = []
    for domain in a.domains:
        if domain.name in LABELS or domain.name.endswith("clear"):
            continue
        alone = [dataclasses.replace(r, domains=tuple(d for d in r.domains if d.name == domain.name)) for r in (a, b)]
        rows += [each.picture for each in difference_panels(*alone, (PLAIN.name, best.name), 1)]
    if not rows:
        return None
    sheet = np.concatenate(rows)
    return panel(sheet, PANELS_WIDTH, round(sheet.shape[0] * PANELS_WIDTH / sheet.shape[1]))


def _similarity(plan: Plan) -> np.ndarray | None:
    """Return the attention of two scenes to the queries: a row a teacher, a column a scene and feature."""
    rows = []
    for teacher in plan.settings.teachers:
        found = sorted(pictures(plan.run(full(teacher), 0)).glob("shown_*_attention_*.jpg"))
        last = max((file.stem[-6:] for file in found), default="")  # a run that stopped has drawn some before
        files = [file for file in found if file.stem.endswith(last)]
        if files:
            tiles = [panel(read_image(file), *TILE) for file in files]
            title = f"{teacher.name}: clear and night, first and last feature"
            rows.append(titled(grid(tiles, len(tiles)), title, height=24))
    return np.concatenate(rows) if rows else None
