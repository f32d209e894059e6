"""Show in the terminal what a teacher is."""

from __future__ import annotations

from pathlib import Path

from rich import box
from rich.table import Table

from querydiff_core.teacher.teacher_description import TeacherDescription, describe
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES
from querydiff_core.utils.terminal import console


def print_teacher(source: str | Path, size: tuple[int, int]) -> None:
    """Print the parts, the features and the cost of the teacher at `source` for images of `size` (height, width).

    Raises:
        QueryDiffError: if there is no teacher, or it cannot see images of that size.
    """
    teacher = describe(source, size)
    terminal = console(soft_wrap=True)
    terminal.print(
        f"{source}: {teacher.prediction_type} prediction, {teacher.timesteps} timesteps; images of {_by(size)}, sides "
        f"must be multiples of {teacher.multiple}"
    )
    terminal.print(_parts(teacher))
    terminal.print(_features(teacher))
    cost = 2 * teacher.used_unet_flops + teacher.encoder_flops
    whole = 2 * teacher.unet_flops + teacher.encoder_flops
    terminal.print(
        f"teaching costs {cost / 1e9:.4g} GFLOP an image: the encoder once and the UNet at two timesteps up to its "
        f"last default feature; with the whole UNet it would be {whole / 1e9:.4g} ({cost / whole:.2f} of it)"
    )


def _parts(teacher: TeacherDescription) -> Table:
    table = _table("part", "parameters (M)", "GFLOP a pass")
    for name, parameters, flops in (
        ("autoencoder, encoder alone", teacher.encoder_parameters, teacher.encoder_flops),
        ("UNet, whole", teacher.unet_parameters, teacher.unet_flops),
        ("UNet to the last default feature", teacher.used_unet_parameters, teacher.used_unet_flops),
    ):
        table.add_row(name, f"{parameters / 1e6:.2f}", f"{flops / 1e9:.4g}")
    return table


def _features(teacher: TeacherDescription) -> Table:
    table = _table("feature", "channels", "grid")
    table.add_column("")
    for feature in teacher.features:
        note = "default" if feature.name in DEFAULT_FEATURES else ""
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
