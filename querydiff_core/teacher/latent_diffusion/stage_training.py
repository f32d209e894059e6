"""The loop of a stage: steps, states, judgements and pictures."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.latent_diffusion.averaged_training import AveragedTraining
from querydiff_core.teacher.latent_diffusion.image_crops import training_crops
from querydiff_core.teacher.latent_diffusion.loss_log import LossLog
from querydiff_core.teacher.latent_diffusion.picture_grid import picture_grid
from querydiff_core.teacher.latent_diffusion.recipe import Recipe
from querydiff_core.teacher.latent_diffusion.run_folder import RunFolder
from querydiff_core.teacher.latent_diffusion.stage import Stage
from querydiff_core.utils.image_files import write_image
from querydiff_core.utils.seeds import mixed_seed
from querydiff_core.utils.stop_signal import StopSignal


@dataclass
class Surroundings:
    """What the stages of a run share.

    Attributes:
        folder: of the run.
        recipe: of the run.
        files: images to train on.
        held_out: images to judge by, RGB in -1..1, `(N, 3, H, W)`, on the device.
        unreadable: files that could not be decoded so far.
        stop: the user's wish to stop.
        workers: processes that read images.
        save_every: steps between states.
        samples: drawn with each state.
    """

    folder: RunFolder
    recipe: Recipe
    files: list[Path]
    held_out: Tensor
    unreadable: set[Path]
    stop: StopSignal
    workers: int
    save_every: int
    samples: int


class StageTraining:
    """Train a stage from its last state, or from its beginning."""

    def __init__(self, stage: Stage, around: Surroundings) -> None:
        self.stage, self.around = stage, around
        self._training = AveragedTraining(stage.network, around.recipe.learning_rate)
        self._log = LossLog(around.folder.losses)
        self._mark = (0, 0.0)  # step and time after the last look
        self._console = Console(highlight=False, soft_wrap=True)

    def run(self) -> bool:
        """Train to the last step and leave the network with its averaged weights; False if the user stopped it.

        The draws of a step depend on (seed, stage, step) alone, so that where a run was interrupted leaves no trace.
        """
        self._take_up()
        with self._progress() as progress:
            task = progress.add_task(self.stage.name, total=self.stage.steps, completed=self._training.step, loss="")
            for crops in self._crops():
                loss = self._step(crops)
                progress.update(task, completed=self._training.step, loss=f"loss {loss:.4f}")
                last = self._training.step == self.stage.steps
                if last or self._training.step % self.around.save_every == 0:
                    report = self._look(loss)
                    self._save()
                    self._console.print(report)
                if self.around.stop.made and not last:
                    self._save()
                    return False
        self._training.keep_average()
        return True

    def _take_up(self) -> None:
        state = self.around.folder.state(self.stage.name)
        if state.exists():
            self._training.load(state)
            self._console.print(f"{self.stage.name}: goes on after step {self._training.step}")
        self._log.forget_after(self.stage.name, self._training.step)
        self._mark = (self._training.step, time.monotonic())

    def _crops(self) -> Iterator[Tensor]:
        recipe, steps = self.around.recipe, range(self._training.step, self.stage.steps)
        for crops in training_crops(
            self.around.files,
            recipe.size,
            batch=recipe.batch,
            steps=steps,
            seed=(recipe.seed, self.stage.number),
            workers=self.around.workers,
        ):
            for file in sorted(set(crops.unreadable) - self.around.unreadable):
                self._console.print(f"warning: {file} cannot be decoded and is left out")
                self.around.unreadable.add(file)
            yield signed(crops.images.to(self.around.held_out.device))

    def _step(self, images: Tensor) -> float:
        number = self._training.step + 1
        losses = self.stage.losses(images, self._random(number))
        finite = self._training.descend(losses["loss"])
        values = {name: float(value.detach()) for name, value in losses.items()}
        if not finite:
            raise QueryDiffError(
                f"The {self.stage.name}'s loss is {values['loss']:g} and its gradient not finite at step {number}: "
                "repeat the command with a lower --learning-rate or --precision fp32 to go on from the last state, "
                f"step {self._mark[0]}."
            )
        self._log.add(self.stage.name, number, values)
        return values["loss"]

    def _random(self, step: int) -> torch.Generator:
        return torch.Generator().manual_seed(mixed_seed(self.around.recipe.seed, self.stage.number, step))

    def _look(self, loss: float) -> str:
        """Judge and picture the averaged network; return a line about it."""
        step, around = self._training.step, self.around
        rate = (step - self._mark[0]) / (time.monotonic() - self._mark[1])
        with self._training.averaged():
            scores = self.stage.judge(around.held_out)
            pictures = self.stage.draw(around.held_out, around.samples)
        for name, images in pictures.items():
            write_image(around.folder.pictures / f"{name}_{step:06}.png", picture_grid(images))
        self._log.add(self.stage.name, step, scores)
        words = ", ".join(f"{name.replace('_', ' ')} {value:.4g}" for name, value in scores.items())
        return f"{self.stage.name} {step}/{self.stage.steps}: loss {loss:.4f}, {words}, {rate:.3g} steps/s"

    def _save(self) -> None:
        self._log.save()  # first: rows beyond the state are dropped when a run goes on, missing ones could not be made
        self._training.save(self.around.folder.state(self.stage.name))
        self._mark = (self._training.step, time.monotonic())

    @contextmanager
    def _progress(self) -> Iterator[Progress]:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[loss]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=self._console, transient=True, disable=not sys.stdout.isatty()) as progress:
            yield progress


def signed(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in -1..1."""
    return images.to(torch.float32) / 127.5 - 1
