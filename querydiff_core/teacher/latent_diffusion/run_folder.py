"""The folder that `querydiff teacher train` fills: its recipe, its training states, and the teacher part by part."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.latent_diffusion.recipe import Recipe

PARTS = ("vae", "text_encoder", "tokenizer", "scheduler", "unet")
INDEX = "model_index.json"  # written last: it tells a finished teacher from an unfinished one


class RunFolder:
    """The places of things in the output folder, and how they get there whole.

    Args:
        path: the folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.recipe = path / "recipe.json"
        self.logs = path / "logs"
        self.pictures = path / "pictures"
        self.states = path / "state"

    def begin(self, recipe: Recipe, resume: bool) -> None:
        """Make the folder ready for a run of `recipe`; what an unfinished run left stays if `resume`, else it goes.

        Raises:
            QueryDiffError: if the folder holds something else, a finished teacher, or a run that `recipe` cannot
                continue.
        """
        if self.path.exists() and not self.path.is_dir():
            raise QueryDiffError(f"--output {self.path} is a file: name a folder that is new or empty.")
        if (self.path / INDEX).exists():
            raise QueryDiffError(f"{self.path} holds a finished teacher: name another --output, or remove it first.")
        if self.recipe.exists() and resume:
            recipe.check_continues(self.recipe)
        elif self.recipe.exists():
            self._empty()
        elif self.path.exists() and any(self.path.iterdir()):
            found = sorted(entry.name for entry in self.path.iterdir())[0]
            raise QueryDiffError(f"{self.path} holds other things ({found}): name an --output that is new or empty.")
        recipe.write(self.recipe)

    def part(self, name: str) -> Path:
        """Return the folder of a part of the teacher; it exists when the part is complete."""
        return self.path / name

    def write(self, name: str, write: Callable[[Path], object]) -> None:
        """Let `write` fill a folder, which then becomes the part `name`, whole or not at all."""
        with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=self.path) as temporary:
            new = Path(temporary) / name
            new.mkdir()
            write(new)
            os.replace(new, self.part(name))

    def finish(self, write_index: Callable[[Path], object]) -> None:
        """Let `write_index` write the index into the folder it is given, and remove the state."""
        with tempfile.TemporaryDirectory(prefix=".index.", dir=self.path) as temporary:
            write_index(Path(temporary))
            os.replace(Path(temporary) / INDEX, self.path / INDEX)
        shutil.rmtree(self.states, ignore_errors=True)

    def _empty(self) -> None:
        for folder in (self.states, self.logs, self.pictures, *map(self.part, PARTS)):
            shutil.rmtree(folder, ignore_errors=True)
