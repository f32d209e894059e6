"""The settings of the study, and the variants of the method that it compares."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from querydiff_core.errors import QueryDiffError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
OVERLAYS = REPOSITORY / "config" / "train" / "ablations"
PAINTED = "painted"
CONDITIONS = ("clear", "fog", "night", "rain", "snow", PAINTED)


@dataclass(frozen=True)
class Settings:
    """The settings of a study; the defaults are those of the document.

    Attributes:
        folder: where everything is written.
        camvid, idd: folders of real data; what needs a folder that is None is left out.
        seeds: training runs of each variant.
        steps, start_steps: training steps of a variant and of the common start.
        scenes: clear street scenes to learn from.
        targets: street scenes to score on, for each of `conditions`.
        autoencoder_steps, denoiser_steps: training steps of each teacher.
        student: variant of the network.
        size, crop: (height, width) of scenes, and of crops and of what the network sees.
        sweep: seeds of the further variants that change one setting of the full method, 0 for none.
        rate: learning rate of the variants, None for that of student.yaml.
        only: words; variants without any of them in their name are left out, but for the two without a teacher.
    """

    folder: Path
    camvid: Path | None
    idd: Path | None
    seeds: int = 3
    steps: int = 100
    start_steps: int = 400
    scenes: int = 1000
    targets: int = 16
    autoencoder_steps: int = 550
    denoiser_steps: int = 500
    student: str = "small-resnet18d"
    conditions: tuple[str, ...] = CONDITIONS
    size: tuple[int, int] = (256, 512)
    crop: tuple[int, int] = (192, 256)
    batch: int = 4
    teacher_crop: int = 128
    device: str = "cpu"
    sweep: int = 0
    rate: float | None = None
    only: tuple[str, ...] = ()

    @property
    def teachers(self) -> tuple[str, ...]:
        """Return the names of the teachers, which say what they are trained on."""
        return ("streets",) if self.idd is None else ("streets", "idd")

    def described(self) -> dict[str, object]:
        """Return the settings for the document, without the folders."""
        values = dataclasses.asdict(self)
        return {name: value for name, value in values.items() if name not in ("folder", "camvid", "idd")}


@dataclass(frozen=True)
class Variant:
    """One row of the tables.

    Attributes:
        name: as it stands in the tables.
        overlay: configuration file that is laid over student.yaml.
        teacher: name of the diffusion model, None for training without one.
        augments: whether it paints training images instead of teaching (`diffusion_augmentation.py`).
        flags: further flags of `querydiff fit`.
        sweep: whether this is the full method with one setting changed.
    """

    name: str
    overlay: Path | None
    teacher: str | None = None
    augments: bool = False
    flags: tuple[str, ...] = ()
    sweep: bool = False

    @property
    def slug(self) -> str:
        """Return the name in the form that folders have."""
        return "_".join(re.findall(r"[A-Za-z0-9.]+", self.name)).lower()


PLAIN = Variant("plain", OVERLAYS / "no_agent_queries.yaml")
AGENT = Variant("agent queries", OVERLAYS / "agent_queries_alone.yaml")
REIN = Variant("Rein, frozen backbone", HERE / "rein.yaml")
SWEEP = {
    "alpha 10": ("--model.alpha=10",),
    "alpha 100": ("--model.alpha=100",),
    "scaled": ("--model.teacher.scaled=true",),
    "strong timestep 50": ("--model.teacher.strong_timestep=50",),
    "strong timestep 400": ("--model.teacher.strong_timestep=400",),
    "finer features": ('--model.teacher.features=["up_blocks.2.resnets.2","up_blocks.3.resnets.2"]',),
    "coarse feature alone": ('--model.teacher.features=["up_blocks.1.resnets.2"]',),
}


def variants(settings: Settings) -> list[Variant]:
    """Return the variants in the order of the tables.

    Raises:
        QueryDiffError: if a word of `settings.only` is in no name.
    """
    found = [PLAIN, AGENT, REIN]
    for teacher in settings.teachers:
        found += [
            Variant(f"+ L_sup, {teacher}", OVERLAYS / "l_sup_alone.yaml", teacher),
            Variant(f"+ L_dist, {teacher}", OVERLAYS / "l_dist_alone.yaml", teacher),
            full(teacher),
            Variant(f"diffusion augmentation, {teacher}", AGENT.overlay, teacher, augments=True),
        ]
    if settings.sweep:
        teacher = settings.teachers[-1]
        found += [Variant(f"full, {teacher}: {name}", None, teacher, flags=f, sweep=True) for name, f in SWEEP.items()]
    only = settings.only
    for word in only:
        if not any(word in variant.name for variant in found):
            names = ", ".join(variant.name for variant in found)
            raise QueryDiffError(f"--only: no variant has {word!r} in its name; the variants are {names}.")
    chosen = [variant for variant in found if not only or any(word in variant.name for word in only)]
    return [variant for variant in found if variant in (PLAIN, AGENT, *chosen)]


def full(teacher: str) -> Variant:
    """Return the variant with every part of the method."""
    return Variant(f"full QueryDiff, {teacher}", None, teacher)
