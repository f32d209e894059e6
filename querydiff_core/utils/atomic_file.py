"""Write files completely or not at all."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from querydiff_core.errors import QueryDiffError, explained


@contextmanager
def atomic_file(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`, renamed to it on success and removed on any failure.

    The temporary keeps the suffix of `path`, since encoders choose their format by it.

    Raises:
        QueryDiffError: for whatever the system refuses meanwhile, such as a full disk.
    """
    path = Path(path)
    with explained(f"Cannot write {path}: {{reason}}.", OSError):
        _refuse_folder(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(prefix=f".{path.stem}.", suffix=path.suffix, dir=path.parent)
        os.close(handle)
        temporary = Path(name)
        try:
            yield temporary
            temporary.chmod(0o644)
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)


def check_writable(path: str | Path) -> None:
    """Find out before the work whether `atomic_file` could write `path` after it; nothing is left behind.

    Raises:
        QueryDiffError: if `path` is a folder, or the system refuses a file there.
    """
    path = Path(path)
    with explained(f"Cannot write {path}: {{reason}}.", OSError):
        _refuse_folder(path)
        folder = next(parent for parent in path.absolute().parents if parent.exists())
        tempfile.TemporaryFile(dir=folder).close()


def _refuse_folder(path: Path) -> None:
    if path.is_dir():
        raise QueryDiffError(f"Cannot write {path}: it is a folder, expected the name of a file.")
