"""The settings of the study, and the variants of the method that it compares."""

from __future__ import annotations

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path

from querydiff_core.conditions import CONDITIONS as GENERATED
from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes.image.painterly import PAINTED

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
OVERLAYS = REPOSITORY / "config" / "train" / "ablations"
CONDITIONS = (*GENERATED, PAINTED)
REAL_SETS = {
    "camvid": ("camvid={}:val", "camvid={}:train:dusk"),
    "bdd100k": ("bdd100k=folder={}",),
    "cityscapes": ("cityscapes=folder={}",),
}
"""Sets of labelled real streets, and what is scored of each, as `querydiff evaluate --data` takes it."""
FOLDERS = ("folder", *REAL_SETS, "idd")


@dataclass(frozen=True)
class Teacher:
    """What teaches.

    Attributes:
        name: as it stands in the tables.
        images: `streets` (the scenes that students learn from) or `idd`; None for the control, which is not trained.
        features: whether it denoises ImageNet features (`--latents imagenet`) instead of an autoencoder's latents.
    """

    name: str
    images: str | None
    features: bool = False


CONTROL = Teacher("control", None)
IDD_FEATURES = Teacher("idd features", "idd", features=True)
STREETS_FEATURES = Teacher("streets features", "streets", features=True)
STREETS = Teacher("streets", "streets")


@dataclass(frozen=True)
class Settings:
    """The settings of a study; the defaults are those of the document.

    Attributes:
        folder: where everything is written.
        camvid, bdd100k, cityscapes: folders of labelled real streets to score on; those that are None are left out.
        idd: folder of unlabelled real streets to train a teacher on; None leaves that teacher out.
        seeds: training runs of each variant.
        steps, start_steps: training steps of a variant and of the common start.
        scenes: clear street scenes to learn from.
        targets: street scenes to score on, for each of `conditions`.
        autoencoder_steps, denoiser_steps: training steps of each teacher.
        student: variant of the network.
        pretrained: whether the common start begins with the published weights of its backbone.
        size, crop, teacher_crop: (height, width) of scenes, of crops and what the network sees, of a teacher's crops.
        rate: learning rate of the variants, None for that of student.yaml.
        only: words; variants without any of them in their name are left out, but for those they are compared with.
    """

    folder: Path
    camvid: Path | None = None
    bdd100k: Path | None = None
    cityscapes: Path | None = None
    idd: Path | None = None
    seeds: int = 3
    steps: int = 300
    start_steps: int = 400
    scenes: int = 1000
    targets: int = 16
    autoencoder_steps: int = 550
    denoiser_steps: int = 500
    student: str = "small"
    pretrained: bool = True
    conditions: tuple[str, ...] = CONDITIONS
    size: tuple[int, int] = (256, 512)
    crop: tuple[int, int] = (128, 256)
    batch: int = 4
    teacher_crop: tuple[int, int] = (128, 256)
    device: str = "cpu"
    rate: float | None = None
    only: tuple[str, ...] = ()

    @property
    def real(self) -> dict[str, Path]:
        """Return the folders of labelled real streets that are there, by the names in REAL_SETS."""
        folders = {name: getattr(self, name) for name in REAL_SETS}
        return {name: folder for name, folder in folders.items() if folder is not None}

    @property
    def teachers(self) -> tuple[Teacher, ...]:
        """Return the teachers, the control first."""
        real = () if self.idd is None else (IDD_FEATURES,)
        return (CONTROL, *real, STREETS_FEATURES, STREETS)

    def described(self) -> dict[str, object]:
        """Return the settings for the document, without the folders."""
        return {name: value for name, value in dataclasses.asdict(self).items() if name not in FOLDERS}


@dataclass(frozen=True)
class Variant:
    """One row of the tables.

    Attributes:
        name: as it stands in the tables.
        overlay: configuration file that is laid over student.yaml.
        teacher: None for training without one.
        untaught: the same student without a teacher, None where there is no teacher.
        augments: whether it paints training images instead of teaching (`diffusion_augmentation.py`).
    """

    name: str
    overlay: Path | None
    teacher: Teacher | None = None
    untaught: Variant | None = None
    augments: bool = False

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the configuration files, each laid over those before it."""
        taught = HERE / "taught.yaml" if self.teacher and not self.augments else None
        return tuple(file for file in (HERE / "student.yaml", self.overlay, taught) if file)

    @property
    def has_agent_queries(self) -> bool:
        """Return whether its queries are agent queries, which can be measured."""
        return self not in (PLAIN, REIN)

    @property
    def slug(self) -> str:
        """Return the name in the form that folders have."""
        return "_".join(re.findall(r"[A-Za-z0-9.]+", self.name)).lower()


PLAIN = Variant("plain", OVERLAYS / "no_agent_queries.yaml")
AGENT = Variant("agent queries", OVERLAYS / "agent_queries_alone.yaml")
IMAGE = Variant("image queries", HERE / "image_queries.yaml")
TOKENS = Variant("tokens", HERE / "tokens.yaml")
REIN = Variant("Rein", HERE / "rein.yaml")
TERMS = {"L_sup": "l_sup_alone.yaml", "L_dist": "l_dist_alone.yaml"}


def variants(settings: Settings) -> list[Variant]:
    """Return the variants in the order of the tables.

    Raises:
        QueryDiffError: if a word of `settings.only` is in no name.
    """
    control, *diffusion = settings.teachers
    found = [PLAIN, AGENT, full(control), IMAGE, taught(IMAGE, control), TOKENS, taught(TOKENS, control)]
    found += [full(teacher) for teacher in diffusion]
    found += [REIN, *(Variant(f"+ {name}", OVERLAYS / file, control, AGENT) for name, file in TERMS.items())]
    found.append(Variant(f"diffusion augmentation, {STREETS.name}", AGENT.overlay, STREETS, AGENT, augments=True))
    only = settings.only
    for word in only:
        if not any(word in variant.name for variant in found):
            names = ", ".join(variant.name for variant in found)
            raise QueryDiffError(f"--only: no variant has {word!r} in its name; the variants are {names}.")
    chosen = [variant for variant in found if not only or any(word in variant.name for word in only)]
    compared = (PLAIN, AGENT, *chosen, *(variant.untaught for variant in chosen))
    return [variant for variant in found if variant in compared]


def full(teacher: Teacher) -> Variant:
    """Return the variant with every part of the method."""
    return Variant(f"full QueryDiff, {teacher.name}", None, teacher, AGENT)


def taught(untaught: Variant, teacher: Teacher) -> Variant:
    """Return a variant with a teacher beside."""
    return Variant(f"{untaught.name}, {teacher.name}", untaught.overlay, teacher, untaught)
