"""Where the launch files and the configuration are, however the package was installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from querydiff_core.errors import QueryDiffError

PACKAGE = "querydiff_ros"


def share_directory() -> Path:
    """Return the directory that holds `launch` and `config`: of a colcon workspace, a pip install, or the source tree.

    Raises:
        QueryDiffError: if none of the three has them.
    """
    candidates = list(_candidates())
    for candidate in candidates:
        if (candidate / "config" / "dds").is_dir():
            return candidate
    searched = ", ".join(map(str, candidates))
    raise QueryDiffError(f"The configuration of {PACKAGE} was not found in {searched}: install the package again.")


def _candidates() -> Iterator[Path]:
    source_tree = Path(__file__).resolve().parent.parent
    if (source_tree / "package.xml").is_file():  # an editable install: its share folder would be out of date
        yield source_tree
    try:
        from ament_index_python.packages import (  # noqa: PLC0415 - absent without ROS
            PackageNotFoundError,
            get_package_share_directory,
        )

        yield Path(get_package_share_directory(PACKAGE))
    except (ImportError, PackageNotFoundError, LookupError, OSError):
        pass
    yield Path(sys.prefix) / "share" / PACKAGE
