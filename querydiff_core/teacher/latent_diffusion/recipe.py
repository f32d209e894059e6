"""What a training run is asked for, and what it was asked for when it began."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.latent_diffusion.networks import UNET_LEVELS, WIDTHS
from querydiff_core.utils.atomic_file import atomic_file

# May differ when a run goes on: more steps change none of those before (the rate is constant after its warm-up), and
# the others are the knobs to turn when memory runs out or the loss breaks.
CHANGEABLE = ("denoiser_steps", "batch", "learning_rate", "precision")


@dataclass(frozen=True)
class Recipe:
    """Everything that decides which teacher comes out: two runs of one recipe on one device train the same.

    Args:
        size: (height, width) of the crops in pixels, multiples of `multiple`.
        width: preset of channels, a key of `networks.WIDTHS`.
        downsampling: pixels that a latent cell is wide, 4 or 8.
        prediction: what the UNet predicts, "epsilon" or "v".
        autoencoder_steps: steps of the first stage.
        denoiser_steps: steps of the second stage.
        batch: images a step.
        learning_rate: AdamW's, in both stages.
        precision: "fp32", or "bf16" for autocast.
        seed: of the initial weights and of every step's draws.
        images: digest of the names of the images.

    Raises:
        QueryDiffError: if a value is out of range.
    """

    size: tuple[int, int]
    width: str
    downsampling: int
    prediction: str
    autoencoder_steps: int
    denoiser_steps: int
    batch: int
    learning_rate: float
    precision: str
    seed: int
    images: str

    def __post_init__(self) -> None:
        assert self.width in WIDTHS
        for name in ("autoencoder_steps", "denoiser_steps", "batch"):
            if getattr(self, name) < 1:
                raise QueryDiffError(f"{_flag(name)} must be 1 or more, found {getattr(self, name)}.")
        if self.seed < 0:
            raise QueryDiffError(f"--seed must be 0 or more, found {self.seed}.")
        if not 0 < self.learning_rate < 1:
            raise QueryDiffError(f"--learning-rate must be above 0 and below 1, found {self.learning_rate:g}.")
        if any(side % self.multiple for side in self.size):
            raise QueryDiffError(
                f"--size must be multiples of {self.multiple} ({self.downsampling} pixels a latent cell, halved "
                f"{UNET_LEVELS - 1} times by the UNet), found {self.size[0]}x{self.size[1]}."
            )

    @property
    def multiple(self) -> int:
        """Return what the sides of images must be multiples of, in pixels."""
        return self.downsampling * 2 ** (UNET_LEVELS - 1)

    def write(self, path: Path) -> None:
        """Write as JSON, whole or not at all."""
        with atomic_file(path) as temporary:
            temporary.write_text(json.dumps(asdict(self), indent=2) + "\n", "utf-8")

    def check_continues(self, path: Path) -> None:
        """Check that going on with the run whose recipe is at `path` gives what this recipe asks for.

        Raises:
            QueryDiffError: if an option other than `CHANGEABLE` differs, naming it.
        """
        try:
            begun: dict[str, Any] = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError) as error:
            raise QueryDiffError(f"{path} cannot be read as a recipe of `querydiff teacher train`: {error}.") from error
        asked = json.loads(json.dumps(asdict(self)))  # tuples become lists, as in the file
        for field in fields(self):
            name = field.name
            if name not in CHANGEABLE and begun.get(name) != asked[name]:
                raise QueryDiffError(_difference(path.parent, name, begun.get(name), asked[name]))


def _difference(folder: Path, name: str, begun: object, asked: object) -> str:
    advice = "repeat its options, name another --output, or begin anew with --no-resume"
    if name == "images":
        return f"{folder} holds an unfinished run on other images than these: name the same, or {advice}."
    return f"{folder} holds an unfinished run with {_flag(name)} {_words(begun)}, asked for {_words(asked)}: {advice}."


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def _words(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, list) else str(value)
