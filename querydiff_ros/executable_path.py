"""Where this package's executables are, however it was installed."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from querydiff_core.errors import QueryDiffError
from querydiff_ros.share_directory import PACKAGE


def executable_path(name: str) -> str:
    """Return the path of the executable `name`: of a colcon workspace, beside our own Python, or on the PATH.

    Raises:
        QueryDiffError: if it is in none of them.
    """
    workspace = _workspace_executable(name)
    for candidate in (workspace, Path(sys.executable).with_name(name)):
        if candidate is not None and candidate.is_file():
            return str(candidate)
    if found := shutil.which(name):
        return found
    raise QueryDiffError(f"The executable {name} was not found: build {PACKAGE} with colcon, or install it with pip.")


def _workspace_executable(name: str) -> Path | None:
    try:
        from ament_index_python.packages import get_package_prefix  # noqa: PLC0415 - absent without ROS

        return Path(get_package_prefix(PACKAGE)) / "lib" / PACKAGE / name
    except (ImportError, LookupError, OSError):
        return None
