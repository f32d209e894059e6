"""The middleware settings under which whole raw frames travel between processes."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from querydiff_ros.common.install_paths import share_directory

PROFILE_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
"""What names a profile file to Fast DDS: up to 2.x (Humble, Jazzy) the first, from 3 (Kilted) the second."""


def dds_profile() -> Path:
    """Return the Fast DDS profile for large images that comes with this package."""
    return share_directory() / "config" / "dds" / "fastdds_large_images.xml"


def dds_profile_variables(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables to add to `environment` (default: ours) so that Fast DDS uses our profile.

    Empty if the user has chosen a profile, or a built-in transport, for themselves.
    """
    environment = os.environ if environment is None else environment
    if any(environment.get(name) for name in (*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS")):
        return {}
    return dict.fromkeys(PROFILE_VARIABLES, str(dds_profile()))


def environment_with_dds_profile(environment: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return a copy of `environment` (default: ours) for a process that sends or receives images."""
    environment = os.environ if environment is None else environment
    return {**environment, **dds_profile_variables(environment)}
