"""Write street scenes into a data set folder: images, labels and how they were made."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import cv2
import yaml

from querydiff_core.conditions import CONDITIONS, check_conditions
from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes.groups import GROUPS, check_groups
from querydiff_core.street_scenes.image.painterly import PAINTED
from querydiff_core.street_scenes.scene import check_request, render_scene
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.image_files import write_image

JPEG_QUALITY = 94


@dataclass(frozen=True)
class SceneFolder:
    """A data set of `count` scenes of `size` (height, width) in `folder`: seeds from `seed` on, conditions in turn.

    `conditions` may hold "painted", the extreme domain, beside those of CONDITIONS. `groups`: what of GROUPS is
    drawn; a folder that does not name them was made before there were any.

    Layout: `images/<condition>_<seed>.jpg`, `labels/<condition>_<seed>.png` (trainIds, 255 unlabelled), `dataset.yaml`.

    Raises:
        QueryDiffError: for a request that cannot be rendered.
    """

    folder: Path
    count: int
    size: tuple[int, int] = (256, 512)
    seed: int = 0
    conditions: tuple[str, ...] = CONDITIONS
    groups: tuple[str, ...] = GROUPS

    def __post_init__(self) -> None:
        """Refuse a bad request before anything is written."""
        check_request(self.seed, self.size)
        if self.count < 1:
            raise QueryDiffError(f"The number of scenes must be 1 or more, found {self.count}.")
        check_conditions(self.conditions, (*CONDITIONS, PAINTED))
        check_groups(self.groups)

    def write(self, workers: int = 1) -> Iterator[int]:
        """Render what is missing in `workers` processes; yields the number of scenes done, once for each.

        Raises:
            QueryDiffError: if the folder holds scenes of another kind or cannot be written.
        """
        missing = [seed for seed in range(self.seed, self.seed + self.count) if not self._is_there(seed)]
        self._describe(bool(missing))
        done = self.count - len(missing)
        yield done
        if workers <= 1 or len(missing) < 2:
            for seed in missing:
                self.write_scene(seed)
                yield (done := done + 1)
            return
        with get_context("spawn").Pool(min(workers, len(missing)), _start_worker) as pool:
            for _ in pool.imap_unordered(self.write_scene, missing, chunksize=4):
                yield (done := done + 1)

    def write_scene(self, seed: int) -> None:
        """Render and write one scene; its image comes last, so that an image always has its labels."""
        image_file, label_file = self._files(seed)
        scene = render_scene(seed, self.size, self._condition(seed), self.groups)
        write_image(label_file, scene.labels, [cv2.IMWRITE_PNG_COMPRESSION, 6])
        write_image(image_file, scene.image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])

    def _condition(self, seed: int) -> str:
        return self.conditions[(seed - self.seed) % len(self.conditions)]

    def _files(self, seed: int) -> tuple[Path, Path]:
        stem = f"{self._condition(seed)}_{seed:07d}"
        return self.folder / "images" / f"{stem}.jpg", self.folder / "labels" / f"{stem}.png"

    def _is_there(self, seed: int) -> bool:
        return all(file.is_file() for file in self._files(seed))

    def _describe(self, growing: bool) -> None:
        """Write dataset.yaml, or check that the one that is there describes scenes of the same kind.

        A folder that is complete and not `growing` may be of an older version.
        """
        file = self.folder / "dataset.yaml"
        recipe: dict[str, Any] = {
            "generator": "querydiff scenes images",
            "labels": "Cityscapes trainIds, 255 unlabelled",
            **{name: list(v) if isinstance(v, tuple) else v for name, v in asdict(self).items() if name != "folder"},
        }
        if file.is_file():
            _check_same_kind(file, recipe, growing)
            if not growing:
                return
        with atomic_file(file) as temporary:
            temporary.write_text(yaml.safe_dump(recipe, sort_keys=False))


def _check_same_kind(file: Path, recipe: dict[str, Any], growing: bool) -> None:
    try:
        found = yaml.safe_load(file.read_text())
    except (yaml.YAMLError, OSError, UnicodeDecodeError):
        found = None
    for key in ("generator", "size", "seed", "conditions", *(("groups",) if growing else ())):
        here = found.get(key, [] if key == "groups" else None) if isinstance(found, dict) else None
        if here != recipe[key]:
            raise QueryDiffError(
                f"{file.parent} holds scenes with {key} {here}, asked for {recipe[key]}: choose another folder."
            )


def _start_worker() -> None:
    """Leave Ctrl-C to the parent, and the other cores to the other workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)
