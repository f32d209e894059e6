"""Show in the terminal what a teacher is."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table

from querydiff_core.teacher.control_teacher import is_control
from querydiff_core.teacher.teacher_description import (
    FeatureDescription,
    TeacherDescription,
    describe,
    describe_control,
)
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES
from querydiff_core.utils.terminal import console


def print_teacher(source: str, size: tuple[int, int]) -> None:
    """Print the parts, the features and the cost of the teacher at `source` for images of `size` (height, width).

    Raises:
        QueryDiffError: if there is no teacher, or it cannot see images of that size.
    """
    terminal = console(soft_wrap=True)
    if is_control(source):
        _print_control(source, size, terminal)
        return
    teacher = describe(source, size)
    terminal.print(
        f"{source}: {teacher.prediction_type} prediction, {teacher.timesteps} timesteps; images of {_by(size)}, sides "
        f"must be multiples of {teacher.multiple}"
    )
    terminal.print(_parts(teacher))
    terminal.print(_features(teacher.features, DEFAULT_FEATURES))
    cost = 2 * teacher.used_unet_flops + teacher.encoder_flops
    whole = 2 * teacher.unet_flops + teacher.encoder_flops
    terminal.print(
        f"teaching costs {cost / 1e9:.4g} GFLOP an image: the encoder once and the UNet at two timesteps up to its "
        f"last default feature; with the whole UNet it would be {whole / 1e9:.4g} ({cost / whole:.2f} of it)"
    )


def _print_control(source: str, size: tuple[int, int], terminal: Console) -> None:
    teacher = describe_control(source, size)
    terminal.print(
        f"{source}: no diffusion model but a control, an ImageNet network on clean and on noised images; images of "
        f"{_by(size)}, sides must be multiples of {teacher.multiple}"
    )
    terminal.print(_features(teacher.features, [feature.name for feature in teacher.features]))
    terminal.print(
        f"teaching costs {2 * teacher.flops / 1e9:.4g} GFLOP an image: the network "
        f"({teacher.parameters / 1e6:.2f} M parameters) at two levels of noise"
    )


def _parts(teacher: TeacherDescription) -> Table:
    table = _table("part", "parameters (M)", "GFLOP a pass")
    for name, parameters, flops in (
        ("encoder of latents", teacher.encoder_parameters, teacher.encoder_flops),
        ("UNet, whole", teacher.unet_parameters, teacher.unet_flops),
        ("UNet to the last default feature", teacher.used_unet_parameters, teacher.used_unet_flops),
    ):
        table.add_row(name, f"{parameters / 1e6:.2f}", f"{flops / 1e9:.4g}")
    return table


def _features(features: Sequence[FeatureDescription], used: Sequence[str]) -> Table:
    table = _table("feature", "channels", "grid")
    table.add_column("")
    for feature in features:
        note = "default" if feature.name in used else ""
        table.add_row(feature.name, str(feature.channels), _by(feature.grid), note, style="bold" if note else "")
    return table


def _table(name: str, *numbers: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(name)
    for number in numbers:
        table.add_column(number, justify="right")
    return table


def _by(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]}"
