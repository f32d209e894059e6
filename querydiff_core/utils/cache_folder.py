"""The folder of files that can be computed again."""

from __future__ import annotations

import os
from pathlib import Path

from querydiff_core.errors import explained


def cache_folder(name: str) -> Path:
    """Return the folder `name` of the cache: under $QUERYDIFF_CACHE, $XDG_CACHE_HOME/querydiff or ~/.cache/querydiff.

    Raises:
        QueryDiffError: if it cannot be made.
    """
    root = os.environ.get("QUERYDIFF_CACHE")
    with explained("There is no home folder to keep a cache in: set QUERYDIFF_CACHE to a folder.", RuntimeError):
        base = Path(root) if root else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "querydiff"
        folder = base.expanduser() / name  # needs HOME, or a user of this id
    with explained(f"Cannot make {folder}: {{reason}}; set QUERYDIFF_CACHE to another.", OSError):
        folder.mkdir(parents=True, exist_ok=True)
    return folder
