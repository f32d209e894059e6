"""Engine files that are zip archives: `.pt2` (PyTorch's package) and `.engine` (a TensorRT plan), with our metadata."""

from __future__ import annotations

import zipfile
import zlib
from pathlib import Path

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata

_PLAN = "plan"
_COMPILED = "/data/aotinductor/model/"
_HEADERS = ("/archive_format", "/archive_version", "/byteorder", "/.data/", "/version")


def read_archive_metadata(path: Path) -> ModelMetadata:
    """Return the metadata of a `.pt2` or `.engine` file, having read every byte and run none.

    Raises:
        QueryDiffError: if the file is damaged, foreign, of a newer version, or carries what only a pickle can hold.
    """
    unreadable = f"{path} is not a readable engine: {{reason}}; export it again."
    # RuntimeError: of a part that is said to be encrypted, or packed by an unknown method.
    damages = (OSError, zipfile.BadZipFile, EOFError, UnicodeDecodeError, RuntimeError, zlib.error)
    with explained(unreadable, *damages), zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged is not None:
            raise zipfile.BadZipFile(f"its part {damaged} is damaged")
        names = {name.rpartition("extra/")[2]: name for name in archive.namelist()}
        text = archive.read(names[METADATA_KEY]).decode() if METADATA_KEY in names else None
    metadata = ModelMetadata.from_json(text, path)
    if metadata.build is None:
        raise QueryDiffError(f"{path} does not say what it was built for; export it again.")
    _check_contents(path, list(names.values()))
    return metadata


def add_metadata(package: Path, metadata: ModelMetadata) -> None:
    """Put the metadata into PyTorch's package `package`; drop its C++ sources, which name folders of this machine."""
    with zipfile.ZipFile(package) as archive:
        parts = [(name, archive.read(name)) for name in archive.namelist() if not name.endswith(".cpp")]
    root = parts[0][0].partition("/")[0]
    parts.append((f"{root}/extra/{METADATA_KEY}", metadata.to_json().encode()))
    with zipfile.ZipFile(package, "w", zipfile.ZIP_STORED) as archive:
        for name, content in parts:
            archive.writestr(name, content)


def write_plan(path: Path, plan: bytes, metadata: ModelMetadata) -> None:
    """Write a serialised TensorRT engine with its metadata."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"extra/{METADATA_KEY}", metadata.to_json())
        archive.writestr(_PLAN, plan)


def read_plan(path: Path) -> bytes:
    """Return the serialised TensorRT engine in `path`, which `read_archive_metadata` has checked."""
    with zipfile.ZipFile(path) as archive:
        return archive.read(_PLAN)


def _check_contents(path: Path, names: list[str]) -> None:
    """Refuse what we never write: PyTorch would unpickle some of it."""
    for name in names:
        ours = name == _PLAN or name.endswith(f"extra/{METADATA_KEY}")
        if not ours and _COMPILED not in name and not any(header in name for header in _HEADERS):
            raise QueryDiffError(f"{path} carries {name}, which no engine of this project does; export it again.")
