"""Find bags, and what folders and metadata say of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, count
from pathlib import Path

import yaml

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.street_scenes import CONDITIONS
from querydiff_ros.bags.bag_reader import is_bag_file

ENDS = 2**20
"""Bytes at the beginning and the end of a file that its fingerprint reads: bags are too long to read them twice."""


@dataclass(frozen=True)
class BagSource:
    """A bag to evaluate: `name` for its files and frames, `condition` as folder or metadata say, "" if they do not."""

    path: Path
    name: str
    condition: str

    @property
    def fingerprint(self) -> str:
        """Return a SHA-256 over names, sizes and ends of the bag's files.

        Raises:
            QueryDiffError: if one cannot be read.
        """
        digest = hashlib.sha256()
        with explained(f"{self.path} cannot be read as a rosbag2: {{reason}}.", OSError):
            files = sorted(self.path.iterdir()) if self.path.is_dir() else [self.path]
            for file in files:
                if file.is_file():
                    digest.update(f"{file.name} {file.stat().st_size}\n".encode())
                    digest.update(_ends(file))
        return digest.hexdigest()


def find_bags(paths: Sequence[Path]) -> list[BagSource]:
    """Return the bags of `paths`, each a bag or a folder that holds bags, in the order of their paths.

    Raises:
        QueryDiffError: if a path is missing or holds no bag.
    """
    found = [(bag, root) for path in paths for bag, root in _below(path)]
    sources: dict[str, BagSource] = {}
    for bag, root in found:
        name = re.sub(r"[^\w.-]+", "_", "_".join(bag.relative_to(root).parts)) or "bag"
        numbered = (f"{name}_{number}" for number in count(2))
        unique = next(each for each in chain([name], numbered) if each not in sources)
        sources[unique] = BagSource(bag, unique, _condition(bag, root))
    return list(sources.values())


def is_bag(path: Path) -> bool:
    """Return whether `path` is a rosbag2: a folder with its metadata, or with files of its own name, or such a file."""
    if not path.is_dir():
        return is_bag_file(path)
    # A folder that lost its metadata is told from a folder of bags by the names that recorders give.
    return (path / "metadata.yaml").is_file() or any(
        is_bag_file(file) and file.name.startswith(path.name) for file in path.iterdir()
    )


def _below(path: Path) -> list[tuple[Path, Path]]:
    if not path.exists():
        raise QueryDiffError(f"No bag {path}: expected a rosbag2 folder, an .mcap or .db3 file, or a folder of bags.")
    path = path.resolve()
    if is_bag(path):
        return [(path, path.parent)]
    bags = _bags_in(path)
    if not bags:
        raise QueryDiffError(f"{path} is no bag and holds none: expected rosbag2 folders with .mcap or .db3 files.")
    return [(bag, path) for bag in bags]


def _bags_in(folder: Path) -> list[Path]:
    if not folder.is_dir():
        return []
    inner = [path for path in sorted(folder.iterdir()) if not path.name.startswith(".")]
    return [bag for path in inner for bag in ([path] if is_bag(path) else _bags_in(path))]


def _condition(bag: Path, root: Path) -> str:
    """Return what the metadata says, or the folder between `root` and the bag, or a known word in a name."""
    folders = bag.relative_to(root).parts[:-1]
    if said := _said_in_metadata(bag):
        return said
    if folders:
        return folders[0]
    words = [word for name in (bag.name, root.name) for word in re.split(r"[^a-z]+", name.lower())]
    return next((word for word in words if word in CONDITIONS), "")


def _said_in_metadata(bag: Path) -> str:
    try:
        raw = yaml.safe_load((bag / "metadata.yaml").read_text(encoding="utf-8"))
        return str(raw["rosbag2_bagfile_information"]["custom_data"]["condition"]).strip()
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, RecursionError):
        return ""  # a bag without metadata is read all the same


def _ends(file: Path) -> bytes:
    with file.open("rb") as stream:
        head = stream.read(ENDS)
        stream.seek(max(ENDS, file.stat().st_size - ENDS))
        return head + stream.read(ENDS)
