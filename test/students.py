"""A small student whose labels differ from place to place, for tests that compare engines."""

from __future__ import annotations

import functools
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from querydiff_core.build import build_model
from querydiff_core.data.street_scenes import render_scene
from querydiff_core.deployment.checkpoint import save_checkpoint
from querydiff_core.deployment.metadata import ModelMetadata
from querydiff_core.models.querydiff import QueryDiff, semantic_probabilities

SIZE = (64, 128)
STEPS = 120


def write_student(path: Path) -> Path:
    """Write a checkpoint of `tiny` that knows four classes: with random weights it knows one, and all engines agree."""
    model = trained_student()
    save_checkpoint(model, ModelMetadata("tiny", SIZE, model.mean, model.std), path)
    return path


@functools.cache
def trained_student() -> QueryDiff:
    """Return `tiny` after a few seconds of training, in eval mode; once for each process."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("tiny")
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3)
    scenes = [render_scene(seed, SIZE) for seed in range(8)]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2).float() / 255
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (model.mean, model.std))
    labels = torch.from_numpy(np.stack([scene.labels for scene in scenes])).long()
    for _ in range(STEPS):
        scores = semantic_probabilities(model((images - mean) / std)) + 1e-4  # (8, 19, 16, 32)
        shares = F.interpolate((scores / scores.sum(1, keepdim=True)).contiguous(), SIZE, mode="bilinear")
        loss = F.nll_loss(shares.log(), labels, ignore_index=255)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    return model.eval()
