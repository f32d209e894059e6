"""What the ladder climbs: its rungs, and the steps that they are made of."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from steps import Step

from querydiff_core.errors import QueryDiffError

HERE = Path(__file__).resolve().parent
REPOSITORY = HERE.parents[1]
OVERLAYS = REPOSITORY / "config" / "train" / "ablations"
PAINTED = "painted"
CONDITIONS = ("clear", "fog", "night", "rain", "snow", PAINTED)
TARGET_SEED, SHOWN_SEED = 9_000_000, 9_500_000


@dataclass(frozen=True)
class Settings:
    """What the ladder is asked for; the defaults are those of the document.

    `folder`: of all it makes. `camvid`, `idd`: real data, left out where missing. `steps`, `start_steps`: of a rung and
    of the common start. `scenes`: clear ones to learn from. `targets`: to score on, for each
    of `conditions`.
    `autoencoder_steps`, `denoiser_steps`: of each teacher. `size`: of scenes, `crop`: of crops and of what the network
    sees, (height, width). `sweep`: seeds of the extra rungs, 0 for none. `rate`: of learning in the
    rungs, None for student.yaml's. `only`: words; other rungs than those with one in their name, and the two without
    teacher that they are held against, are left out.
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
    variant: str = "small"
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
        """Return what teachers are trained on."""
        return ("streets",) if self.idd is None else ("streets", "idd")


@dataclass(frozen=True)
class Rung:
    """`name` as the table has it. `overlay`: configuration file. `teacher`: which, if any.

    `gives`: see `diffusion_augmentation.py`.

    `flags` are further flags of `querydiff fit`; `extra`: whether it belongs to the sweep.
    """

    name: str
    overlay: Path | None
    teacher: str | None = None
    gives: bool = False
    flags: tuple[str, ...] = ()
    extra: bool = False

    @property
    def slug(self) -> str:
        """Return the name as folders have it."""
        return "_".join(re.findall(r"[A-Za-z0-9.]+", self.name)).lower()


PLAIN = Rung("plain", OVERLAYS / "no_agent_queries.yaml")
AGENT = Rung("agent queries", OVERLAYS / "agent_queries_alone.yaml")
REIN = Rung("Rein, frozen backbone", HERE / "rein.yaml")
SWEEP = {
    "alpha 10": ("--model.alpha=10",),
    "alpha 100": ("--model.alpha=100",),
    "scaled": ("--model.teacher.scaled=true",),
    "strong timestep 50": ("--model.teacher.strong_timestep=50",),
    "strong timestep 400": ("--model.teacher.strong_timestep=400",),
    "finer features": ('--model.teacher.features=["up_blocks.2.resnets.2","up_blocks.3.resnets.2"]',),
    "coarse feature alone": ('--model.teacher.features=["up_blocks.1.resnets.2"]',),
}


def rungs(settings: Settings) -> list[Rung]:
    """Return the rungs in the order of the table."""
    found = [PLAIN, AGENT, REIN]
    for teacher in settings.teachers:
        found += [
            Rung(f"+ L_sup, {teacher}", OVERLAYS / "l_sup_alone.yaml", teacher),
            Rung(f"+ L_dist, {teacher}", OVERLAYS / "l_dist_alone.yaml", teacher),
            full(teacher),
            Rung(f"give, {teacher}", AGENT.overlay, teacher, gives=True),
        ]
    if settings.sweep:
        teacher = settings.teachers[-1]
        found += [Rung(f"full, {teacher}: {name}", None, teacher, flags=f, extra=True) for name, f in SWEEP.items()]
    only = settings.only
    for word in only:
        if not any(word in rung.name for rung in found):
            names = ", ".join(rung.name for rung in found)
            raise QueryDiffError(f"--only: no rung has {word!r} in its name; the rungs are {names}.")
    return [rung for rung in found if not only or rung in (PLAIN, AGENT) or any(word in rung.name for word in only)]


def full(teacher: str) -> Rung:
    """Return the rung of the whole method."""
    return Rung(f"full QueryDiff, {teacher}", None, teacher)


class Plan:
    """The steps of a ladder in the order of their importance, and where each leaves what.

    Attributes:
        settings: what is asked for.
        steps: all of them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = self._scenes("source", settings.scenes, ("clear",), 0)
        self.targets = self._targets()
        self.shown = self._scenes("shown", 2, ("clear", "night"), SHOWN_SEED)
        self.start = self._start()
        self.teachers = {name: self._teacher(name) for name in settings.teachers}
        self.rungs = rungs(settings)
        self._runs: dict[tuple[Rung, int], Step] = {}
        self._given = {name: self._give(name) for name in settings.teachers}
        self.steps = list(dict.fromkeys(self._all()))

    def run(self, rung: Rung, seed: int) -> Step:
        """Return the training run of a rung with a seed."""
        if (rung, seed) not in self._runs:
            self._runs[rung, seed] = self._fit(rung, seed)
        return self._runs[rung, seed]

    def evaluations(self, rung: Rung, seed: int) -> list[Step]:
        """Return the steps that score the student of a run; each leaves `result.json` in its folder.

        They are several, so that domains that come later do not ask for those that are scored.
        """
        run, steps = self.run(rung, seed), []
        for group, scenes in self.targets.items():
            data = [f"street_scenes={scenes.folder / 'scenes'}::{condition}" for condition in self._conditions(group)]
            steps.append(self._score(group, run, data, scenes))
        if self.settings.camvid is not None:
            data = [f"camvid={self.settings.camvid}:val"]
            data += [f"camvid={self.settings.camvid}:train:dusk"] * (self.settings.camvid / "train").is_dir()
            steps.append(self._score("real", run, data))
        return steps

    def _score(self, group: str, run: Step, data: Sequence[str], *needs: Step) -> Step:
        sources = [word for source in data for word in ("--data", source)]
        size = f"{self.settings.crop[0]}x{self.settings.crop[1]}"
        options = ["--size", size, "--device", self.settings.device, "--threads", "1", "--workers", "0"]
        command = ("evaluate", str(student(run)), *sources, *options, "--output", "result.json")
        return self._step(f"score_{group}_{run.name}", "scoring", (command,), (run, *needs))

    def _targets(self) -> dict[str, Step]:
        """Return the generated scenes to score on: weather, and painted ones where they are asked for."""
        found = {}
        for group in ("weather", PAINTED):
            if conditions := self._conditions(group):
                count = self.settings.targets * len(conditions)
                found[group] = self._scenes(f"targets_{group}", count, conditions, TARGET_SEED)
        return found

    def _conditions(self, group: str) -> tuple[str, ...]:
        return tuple(each for each in self.settings.conditions if (each == PAINTED) == (group == PAINTED))

    def seeds(self, rung: Rung) -> range:
        """Return the seeds of a rung."""
        return range(self.settings.sweep if rung.extra else self.settings.seeds)

    def _all(self) -> Iterator[Step]:
        """Yield the steps, the method first and seed by seed, so that an unfinished ladder has what says most."""
        yield from (self.source, *self.targets.values(), self.shown, *self.teachers.values(), self.start)
        method = [PLAIN, AGENT, *(rung for rung in reversed(self.rungs) if rung in map(full, self.settings.teachers))]
        others = [rung for rung in self.rungs if not rung.extra and rung not in method]
        for group in (method, others, [rung for rung in self.rungs if rung.extra]):
            for seed in range(max(self.settings.seeds, self.settings.sweep)):
                for rung in group:
                    if seed in self.seeds(rung):
                        yield from (self._given[rung.teacher],) if rung.gives and rung.teacher else ()
                        yield from (self.run(rung, seed), *self.evaluations(rung, seed))

    def _step(
        self,
        name: str,
        stage: str,
        commands: tuple[tuple[str, ...], ...],
        needs: tuple[Step, ...] = (),
        files: tuple[Path, ...] = (),
    ) -> Step:
        return Step(name, stage, self.settings.folder / name, commands, needs, files)

    def _scenes(self, name: str, count: int, conditions: tuple[str, ...], seed: int) -> Step:
        size = f"{self.settings.size[0]}x{self.settings.size[1]}"
        command = ("scenes", "images", "--output", "scenes", "--count", str(count), "--size", size, "--workers", "1")
        command += ("--seed", str(seed), "--conditions", ",".join(conditions))
        return self._step(f"scenes_{name}", "scenes", (command,))

    def _teacher(self, name: str) -> Step:
        images = self.settings.idd if name == "idd" else self.source.folder / "scenes" / "images"
        crop, device = self.settings.teacher_crop, self.settings.device
        command = ("teacher", "train", str(images), "--output", "model", "--width", "tiny", "--size", f"{crop}x{crop}")
        command += ("--batch", "8", "--precision", "bf16", "--samples", "4", "--workers", "0", "--device", device)
        command += ("--autoencoder-steps", str(self.settings.autoencoder_steps))
        command += ("--denoiser-steps", str(self.settings.denoiser_steps))
        return self._step(f"teacher_{name}", "teachers", (command,), () if name == "idd" else (self.source,))

    def _start(self) -> Step:
        files = (HERE / "student.yaml", PLAIN.overlay or HERE, HERE / "start.yaml")
        command = self._fit_command(files, self.settings.start_steps, 0, 2 * self.settings.batch)
        return self._step("start", "common start", (command,), (self.source, self.shown), files)

    def _fit(self, rung: Rung, seed: int) -> Step:
        files = tuple(file for file in (HERE / "student.yaml", rung.overlay) if file)
        begin = self.start.folder / "runs" / _experiment(self.start.files) / "version_0/checkpoints/last.ckpt"
        needs, flags = [self.source, self.shown, self.start], [f"--model.start_from={begin}", *rung.flags]
        if rung.teacher and rung.gives:
            needs.append(self._given[rung.teacher])
            flags.append(_sources(rung.teacher))
        elif rung.teacher:
            needs.append(self.teachers[rung.teacher])
            flags.append(f"--model.teacher.source={needs[-1].folder / 'model'}")
        if self.settings.rate is not None:
            flags.append(f"--model.learning_rate={self.settings.rate}")
        command = self._fit_command(files, self.settings.steps, seed, self.settings.batch)
        return self._step(f"{rung.slug}_{seed}", "runs", ((*command, *flags),), tuple(needs), files)

    def _fit_command(self, files: tuple[Path, ...], steps: int, seed: int, batch: int) -> tuple[str, ...]:
        configs = [word for file in files for word in ("--config", str(file))]
        values = {
            "seed_everything": seed + 1,
            "model.variant": self.settings.variant,
            "data.root": str(self.settings.folder),
            "data.train": [{"root": "scenes_source/scenes"}],
            "data.crop": self.settings.crop,
            "data.batch_size": batch,
            "student.input_size": self.settings.crop,
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.accelerator": "cpu" if self.settings.device == "cpu" else "gpu",
            "trainer.logger.init_args.version": 0,  # so that the folder's name is known
            "checkpoint.every_n_train_steps": max(1, min(100, steps // 2)),
        }
        flags = [f"--{name}={each if isinstance(each, str) else json.dumps(each)}" for name, each in values.items()]
        return ("fit", *configs, *flags)

    def _give(self, teacher: str) -> Step:
        taught, untaught = self.run(full(teacher), 0), self.run(AGENT, 0)
        model, source = self.teachers[teacher].folder / "model", self.source.folder / "scenes"
        command = ["give", "--teacher", str(model), "--source", str(source), "--output", "scenes"]
        for name, run in (("taught", taught), ("untaught", untaught)):
            command += [f"--{name}", str(run.folder / "step.json")]
        command += ["--device", self.settings.device]
        needs = (self.source, self.teachers[teacher], taught, untaught)
        return self._step(f"given_{teacher}", "giving", (tuple(command),), needs)


def student(run: Step) -> Path:
    """Return the student that a run leaves."""
    return run.folder / "runs" / _experiment(run.files) / "version_0" / "student.safetensors"


def pictures(run: Step) -> Path:
    """Return the folder of the pictures that a run leaves."""
    return student(run).parent / "pictures"


def _sources(teacher: str) -> str:
    """Return the flag that mixes scenes and given images, each half of what is drawn."""
    roots = ("scenes_source/scenes", f"given_{teacher}/scenes")
    return "--data.train=" + json.dumps([{"root": root, "weight": 1.0} for root in roots])


def _experiment(files: tuple[Path, ...]) -> str:
    """Return the name that `querydiff fit` gives to the folder of a run with these files."""
    return "+".join(file.stem for file in files)


def described(settings: Settings) -> dict[str, object]:
    """Return the settings for the document, without where things are."""
    values = dataclasses.asdict(settings)
    return {name: value for name, value in values.items() if name not in ("folder", "camvid", "idd")}
