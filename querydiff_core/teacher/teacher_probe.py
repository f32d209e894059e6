"""Whether a teacher knows more than its student: linear probes of both, and the gate between them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from rich import box
from rich.table import Table
from torch import Tensor

from querydiff_core.data.labelled_pairs import LabelledPairs
from querydiff_core.errors import QueryDiffError
from querydiff_core.models.backbone import Backbone
from querydiff_core.teacher.frozen_teacher import FrozenTeacher, check_sides
from querydiff_core.teacher.linear_probe import Maps, ProbeScore, labelled_cells, probe


def probe_teacher(
    trained: FrozenTeacher,
    random: FrozenTeacher,
    backbone: Backbone,
    pairs: LabelledPairs,
    size: tuple[int, int],
    device: str = "cpu",
) -> dict[str, ProbeScore]:
    """Return what probes find in the teacher with weak and strong noise, in the same with random weights, and in the
    two coarsest maps of a student's backbone (the keys `weak`, `strong`, `random` and `student`).

    Args:
        trained: the teacher.
        random: the same with random weights.
        backbone: the student's.
        pairs: labelled images.
        size: (height, width) that images are resized to.
        device: where the networks run.

    Raises:
        QueryDiffError: for data without labels, or a size that the teacher cannot see.
    """
    check_sides(size, trained.multiple, "--size")
    images, labels = labelled_cells(pairs, size)
    maps = {
        "weak": teacher_maps(trained.to(device)),
        "strong": teacher_maps(trained, strong=True),
        "random": teacher_maps(random.to(device)),
        "student": backbone_maps(backbone.to(device)),
    }
    return {name: probe(each, images, labels, device) for name, each in maps.items()}


def teacher_maps(teacher: FrozenTeacher, *, strong: bool = False) -> Maps:
    """Return what gives the teacher's features of images as maps, with the same noise for every image."""

    def maps(images: Tensor) -> list[Tensor]:
        shape = teacher.latent_shape(*images.shape[-2:])
        noise = torch.randn(1, *shape, generator=torch.Generator().manual_seed(0)).to(images.device)
        features = teacher(images, noise)
        each = features.strong if strong else features.weak
        return [f.transpose(1, 2).unflatten(2, size) for f, size in zip(each, features.sizes, strict=True)]

    return maps


def backbone_maps(backbone: Backbone) -> Maps:
    """Return what gives a backbone's two coarsest maps of images, in evaluation mode."""
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (backbone.mean, backbone.std))

    @torch.no_grad()
    def maps(images: Tensor) -> Sequence[Tensor]:
        modes = [(module, module.training) for module in backbone.modules()]
        backbone.eval()
        found = backbone((images - mean.to(images)) / std.to(images))[-2:]
        for module, training in modes:  # frozen BatchNorm stays in evaluation mode
            module.training = training
        return found

    return maps


def check_gate(source: str, scores: Mapping[str, ProbeScore]) -> None:
    """Refuse a teacher that knows less than the student's backbone does.

    Raises:
        QueryDiffError: naming both figures.
    """
    teacher, student = scores["weak"].miou, scores["student"].miou
    if teacher <= student:
        raise QueryDiffError(
            f"Teacher {source} knows less than the student it should teach: a linear probe of its features reaches "
            f"{100 * teacher:.1f} mIoU, one of the student's backbone {100 * student:.1f}. Take another teacher, or "
            "go on all the same with --force (in training: --model.teacher.gate force)."
        )


def probe_table(source: str, domain: str, scores: Mapping[str, ProbeScore]) -> Table:
    """Return the scores as a table."""
    titles = {
        "weak": source,
        "strong": "  with strong noise",
        "random": "  with random weights",
        "student": "the student's backbone",
    }
    table = Table(
        title=f"linear probe, {domain}: {scores['weak'].cells} cells", title_justify="left", box=box.SIMPLE_HEAD
    )
    table.add_column("features")
    for name in ("cells right, %", "mIoU, %"):
        table.add_column(name, justify="right")
    for key, score in scores.items():
        table.add_row(titles[key], f"{100 * score.right:.1f}", f"{100 * score.miou:.1f}")
    return table
