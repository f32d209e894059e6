"""The plan of the study: the steps that its variants are made of."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from steps import AUGMENT, Step
from variants import AGENT, HERE, PAINTED, PLAIN, REAL_SETS, STREETS, Settings, Teacher, Variant, full, variants

TARGET_SEED, SHOWN_SEED = 9_000_000, 9_500_000
SOURCES = "--data.train=" + json.dumps(
    [{"root": root, "weight": 1.0} for root in ("scenes_source/scenes", "augmented/scenes")]
)
"""The flag that mixes street scenes and painted ones, each half of what is sampled."""


class Plan:
    """The steps of a study in the order of their importance, and where each writes its files.

    Attributes:
        settings: of the study.
        variants, seeds: that are compared.
        steps: all of them.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.source = self._scenes("source", settings.scenes, ("clear",), 0)
        self.targets = self._targets()
        self.shown = self._scenes("shown", 2, ("clear", "night"), SHOWN_SEED)
        self.start = self._start()
        self.teachers = {each: self._teacher(each) for each in settings.teachers if each.images}
        self.variants, self.seeds = variants(settings), range(settings.seeds)
        self._runs: dict[tuple[Variant, int], Step] = {}
        self._augmented = self._augmentation(STREETS)
        self.steps = list(dict.fromkeys(self._all()))

    def run(self, variant: Variant, seed: int) -> Step:
        """Return the training run of a variant with a seed."""
        if (variant, seed) not in self._runs:
            self._runs[variant, seed] = self._fit(variant, seed)
        return self._runs[variant, seed]

    def evaluations(self, variant: Variant, seed: int) -> list[Step]:
        """Return the steps that score the student of a run; each writes `result.json` into its folder.

        There are several, so that those that are done stay done when domains are added.
        """
        run, steps = self.run(variant, seed), []
        for group, scenes in self.targets.items():
            data = [f"street_scenes={scenes.folder / 'scenes'}::{condition}" for condition in self._conditions(group)]
            steps.append(self._score(group, run, data, scenes))
        if real := self.settings.real:
            data = [source.format(folder) for name, folder in real.items() for source in REAL_SETS[name]]
            asked = ("--queries",) if variant.has_agent_queries else ()
            steps.append(self._score("real", run, data, flags=asked))
        return steps

    def _score(self, group: str, run: Step, data: Sequence[str], *needs: Step, flags: Sequence[str] = ()) -> Step:
        sources = [word for source in data for word in ("--data", source)]
        size = f"{self.settings.crop[0]}x{self.settings.crop[1]}"
        options = ["--size", size, "--device", self.settings.device, "--threads", "1", "--workers", "0"]
        command = ("evaluate", str(student_file(run)), *sources, *options, *flags, "--output", "result.json")
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

    def _all(self) -> Iterator[Step]:
        """Yield the steps, seed by seed, so that an unfinished study already says the most."""
        for seed in range(self.settings.seeds):
            for variant in self.variants:
                for step in (self.run(variant, seed), *self.evaluations(variant, seed)):
                    yield from _with_needs(step)

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
        command = ("scenes", "images", "--output", "scenes", "--count", str(count), "--image-size", size)
        command += ("--workers", "1", "--seed", str(seed), "--conditions", ",".join(conditions))
        return self._step(f"scenes_{name}", "scenes", (command,))

    def _teacher(self, teacher: Teacher) -> Step:
        real, crop = teacher.images == "idd", self.settings.teacher_crop
        images = self.settings.idd if real else self.source.folder / "scenes" / "images"
        command = ("teacher", "train", str(images), "--output", "model", "--model.width", "tiny")
        command += ("--latents", "imagenet") if teacher.features else ()
        command += ("--data.crop", json.dumps(crop), "--data.batch_size", "8", "--data.workers", "0")
        command += ("--trainer.precision", "bf16-mixed", "--trainer.accelerator", self._accelerator)
        command += ("--model.denoiser_steps", str(self.settings.denoiser_steps), "--pictures.images", "4")
        if not teacher.features:
            command += ("--model.autoencoder_steps", str(self.settings.autoencoder_steps))
        name = "_".join(["teacher", *teacher.name.split()])
        return self._step(name, "teachers", (command,), () if real else (self.source,))

    @property
    def _accelerator(self) -> str:
        return "cpu" if self.settings.device == "cpu" else "gpu"

    def _start(self) -> Step:
        files = (HERE / "student.yaml", PLAIN.overlay or HERE, HERE / "start.yaml")
        command = self._fit_command(files, self.settings.start_steps, 0, 2 * self.settings.batch)
        command += (f"--model.pretrained={str(self.settings.pretrained).lower()}",)
        return self._step("start", "common start", (command,), (self.source, self.shown), files)

    def _fit(self, variant: Variant, seed: int) -> Step:
        begin = self.start.folder / "runs" / _experiment(self.start.files) / "version_0/checkpoints/last.ckpt"
        needs, flags = [self.source, self.shown, self.start], [f"--model.start_from={begin}"]
        if variant.augments:
            needs.append(self._augmented)
            flags.append(SOURCES)
        elif variant.teacher in self.teachers:
            needs.append(self.teachers[variant.teacher])
            flags.append(f"--model.teacher.source={needs[-1].folder / 'model'}")
        if self.settings.rate is not None:
            flags.append(f"--model.learning_rate={self.settings.rate}")
        command = self._fit_command(variant.files, self.settings.steps, seed, self.settings.batch)
        return self._step(f"{variant.slug}_{seed}", "runs", ((*command, *flags),), tuple(needs), variant.files)

    def _fit_command(self, files: tuple[Path, ...], steps: int, seed: int, batch: int) -> tuple[str, ...]:
        configs = [word for file in files for word in ("--config", str(file))]
        values = {
            "seed_everything": seed + 1,
            "model.variant": self.settings.student,
            "data.root": str(self.settings.folder),
            "data.train": [{"root": "scenes_source/scenes"}],
            "data.crop": self.settings.crop,
            "data.batch_size": batch,
            "student.input_size": self.settings.crop,
            "trainer.max_steps": steps,
            "trainer.val_check_interval": steps,
            "trainer.accelerator": self._accelerator,
            "trainer.logger.init_args.version": 0,  # so that the folder's name is known
            "checkpoint.every_n_train_steps": max(1, min(100, steps // 2)),
        }
        flags = [f"--{name}={each if isinstance(each, str) else json.dumps(each)}" for name, each in values.items()]
        return ("fit", *configs, *flags)

    def _augmentation(self, teacher: Teacher) -> Step:
        distilled, alone = self.run(full(teacher), 0), self.run(AGENT, 0)
        model, source = self.teachers[teacher].folder / "model", self.source.folder / "scenes"
        command = [AUGMENT, "--teacher", str(model), "--source", str(source), "--output", "scenes"]
        for name, run in (("with-teacher", distilled), ("without-teacher", alone)):
            command += [f"--{name}", str(run.folder / "step.json")]
        command += ["--device", self.settings.device]
        needs = (self.source, self.teachers[teacher], distilled, alone)
        return self._step("augmented", "augmentation", (tuple(command),), needs)


def _with_needs(step: Step) -> Iterator[Step]:
    """Yield what a step needs, and then the step."""
    for need in step.needs:
        yield from _with_needs(need)
    yield step


def student_file(run: Step) -> Path:
    """Return the student that a run writes."""
    return run.folder / "runs" / _experiment(run.files) / "version_0" / "student.safetensors"


def pictures(run: Step) -> Path:
    """Return the folder of the pictures that a run writes."""
    return student_file(run).parent / "pictures"


def _experiment(files: tuple[Path, ...]) -> str:
    """Return the name that `querydiff fit` gives to the folder of a run with these files."""
    return "+".join(file.stem for file in files)
