"""What a teacher is trained with: the options of `querydiff teacher train`, named as those of `querydiff fit`."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import reduce
from pathlib import Path
from typing import Any, Literal

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.utils.atomic_file import atomic_file

Latents = Literal["autoencoder", "imagenet"]
# As Stable Diffusion, so that the default features, up blocks 1 and 2, exist and have cells of 32 and 16 pixels; the
# latents of the ImageNet network begin with cells of 16.
UNET_LEVELS: dict[Latents, int] = {"autoencoder": 4, "imagenet": 3}
IMAGENET_CELL = 16

# What an unfinished run must share with the one that goes on with it. Longer training of the denoiser changes none of
# the steps before (the rate is constant after its warm-up), and the other options are the knobs to turn when memory
# runs out or the loss breaks.
FIXED = (
    *("model.width", "model.downsampling", "model.prediction", "model.autoencoder_steps", "data.crop"),
    *("latents", "seed_everything", "images"),
)


@dataclass(frozen=True)
class ModelOptions:
    """Which teacher is trained, and how long.

    Args:
        width: preset of channels.
        downsampling: side of a cell of the autoencoder's latents in pixels; 8 is Stable Diffusion's, and 4 gives
            features on a grid twice as fine at four times the cost.
        prediction: what the UNet predicts, the noise (epsilon) or the velocity (v).
        learning_rate: rate of AdamW in both stages.
        autoencoder_steps: training steps of the autoencoder.
        denoiser_steps: training steps of the UNet; may be raised when an unfinished run goes on.
    """

    width: Literal["small", "tiny"] = "small"
    downsampling: Literal[4, 8] = 8
    prediction: Literal["epsilon", "v"] = "epsilon"
    learning_rate: float = 1e-3
    autoencoder_steps: int = 10_000
    denoiser_steps: int = 30_000


@dataclass(frozen=True)
class DataOptions:
    """What the images become.

    Args:
        crop: height and width of the crops in pixels.
        batch_size: images in a training step; fewer need less memory.
        workers: number of processes that read images.
    """

    crop: tuple[int, int] = (128, 128)
    batch_size: int = 16
    workers: int = min(4, (os.cpu_count() or 1) - 1)


@dataclass(frozen=True)
class TrainerOptions:
    """How Lightning trains.

    Args:
        accelerator: device to train on.
        devices: 1 for any device of this kind, or the index of one, such as [2].
        precision: bf16-mixed computes in half precision by autocast; weights stay in fp32.
        val_check_interval: number of steps between two training states, with a score and pictures of each.
        log_every_n_steps: number of steps between two rows of the log.
        enable_progress_bar: whether to show how far the run is and how much time remains.
    """

    accelerator: Literal["auto", "cpu", "gpu"] = "auto"
    devices: list[int] | int = 1
    precision: Literal["32-true", "bf16-mixed"] = "32-true"
    val_check_interval: int = 500
    log_every_n_steps: int = 50
    enable_progress_bar: bool = True


@dataclass(frozen=True)
class PictureOptions:
    """What is shown of the training.

    Args:
        images: number of reconstructions, and of samples, in each picture; 0 for no pictures.
    """

    images: int = 8


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which teacher comes out: two runs of one recipe on one device train the same.

    Args:
        model: the teacher.
        data: the images.
        trainer: the training.
        pictures: the pictures.
        latents: what the UNet denoises: the latents of an autoencoder that is trained first, or whitened features of an
            ImageNet network (EfficientNet-Lite0, extra `weights`), which need no first stage.
        seed_everything: seed of the initial weights and of everything random in a step; the same seed trains the same
            teacher.
        images: digest of the names of the images.

    Raises:
        QueryDiffError: if a value is out of range.
    """

    model: ModelOptions = ModelOptions()
    data: DataOptions = DataOptions()
    trainer: TrainerOptions = TrainerOptions()
    pictures: PictureOptions = PictureOptions()
    latents: Latents = "autoencoder"
    seed_everything: int = 0
    images: str = ""

    def __post_init__(self) -> None:
        options = asdict(self)
        for name, least in _LEAST.items():
            if (value := _option(options, name)) < least:
                raise QueryDiffError(f"--{name} must be {least} or more, found {value}.")
        if not 0 < self.model.learning_rate < 1:
            raise QueryDiffError(
                f"--model.learning_rate must be above 0 and below 1, found {self.model.learning_rate:g}."
            )
        multiple = self.latent_cell * 2 ** (self.unet_levels - 1)
        if min(self.data.crop) < multiple or any(side % multiple for side in self.data.crop):
            raise QueryDiffError(
                f"--data.crop must be multiples of {multiple} ({self.latent_cell} pixels a latent cell, halved "
                f"{self.unet_levels - 1} times by the UNet), found {list(self.data.crop)}."
            )

    @property
    def latent_cell(self) -> int:
        """Side of a cell of the latents in pixels."""
        return IMAGENET_CELL if self.latents == "imagenet" else self.model.downsampling

    @property
    def unet_levels(self) -> int:
        """Number of the UNet's levels."""
        return UNET_LEVELS[self.latents]

    def write(self, path: Path) -> None:
        """Write the recipe as JSON, whole or not at all."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    def check_continues(self, path: Path) -> None:
        """Check that going on with the run whose recipe is at `path` gives what this recipe asks for.

        Raises:
            QueryDiffError: if one of the options in `FIXED` differs, naming it.
        """
        unreadable = (
            f"{path} cannot be read as a recipe of this version of `querydiff teacher train`: name another --output, "
            "or begin from scratch with --resume null."
        )
        with explained(unreadable, OSError, ValueError, KeyError, TypeError):
            options: dict[str, Any] = json.loads(path.read_text("utf-8"))
            before = {name: _option(options, name) for name in FIXED}
        asked = json.loads(json.dumps(asdict(self)))  # tuples become lists, as in the file
        for name in FIXED:
            begun, now = before[name], _option(asked, name)
            if begun != now:
                what = "on other images" if name == "images" else f"with --{name} {begun}, asked for {now}"
                raise QueryDiffError(
                    f"{path.parent} holds an unfinished run {what}: repeat its options, name another --output, or "
                    "begin from scratch with --resume null."
                )


_LEAST = {
    "model.autoencoder_steps": 1,
    "model.denoiser_steps": 1,
    "data.batch_size": 1,
    "data.workers": 0,
    "trainer.val_check_interval": 1,
    "trainer.log_every_n_steps": 1,
    "pictures.images": 0,
    "seed_everything": 0,
}


def _option(options: dict[str, Any], name: str) -> Any:
    return reduce(lambda group, key: group[key], name.split("."), options)
