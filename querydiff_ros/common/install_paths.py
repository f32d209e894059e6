"""Where the launch files, the configuration and the executables are, however the package was installed."""

from __future__ import annotations

import shutil
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
    source_tree = Path(__file__).resolve().parents[2]
    if (source_tree / "package.xml").is_file():  # an editable install: its share folder would be out of date
        yield source_tree
    try:
        from ament_index_python.packages import (
            PackageNotFoundError,
            get_package_share_directory,
        )

        yield Path(get_package_share_directory(PACKAGE))
    except (ImportError, PackageNotFoundError, LookupError, OSError):
        pass
    yield Path(sys.prefix) / "share" / PACKAGE


def executable_path(name: str, package: str = PACKAGE) -> str:
    """Return the path of the executable `name`: of a ROS package, beside our own Python, or on the PATH.

    Raises:
        QueryDiffError: if it is in none of them.
    """
    workspace = _workspace_executable(name, package)
    for candidate in (workspace, Path(sys.executable).with_name(name)):
        if candidate is not None and candidate.is_file():
            return str(candidate)
    if found := shutil.which(name):
        return found
    raise QueryDiffError(f"The executable {name} was not found: install {package}, or source its workspace.")


def _workspace_executable(name: str, package: str) -> Path | None:
    try:
        from ament_index_python.packages import get_package_prefix

        return Path(get_package_prefix(package)) / "lib" / package / name
    except (ImportError, LookupError, OSError):
        return None
