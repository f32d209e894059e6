"""What launch files make of the words that they are given: wrong ones are refused by name, before anything starts."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from querydiff_core.errors import QueryDiffError, explained

_SWITCH = {"true": True, "1": True, "yes": True, "on": True, "false": False, "0": False, "no": False, "off": False}


def switch(chosen: Mapping[str, str], name: str) -> bool:
    """Return the launch argument `name` as a truth value.

    Raises:
        QueryDiffError: if it is none.
    """
    value = _SWITCH.get(chosen[name].strip().lower())
    if value is None:
        raise QueryDiffError(f"Launch argument {name} must be true or false, found {chosen[name]!r}.")
    return value


def number(chosen: Mapping[str, str], name: str) -> float:
    """Return the launch argument `name` as a number.

    Raises:
        QueryDiffError: if it is none.
    """
    with explained(f"Launch argument {name} must be a number, found {chosen[name]!r}.", ValueError):
        return float(chosen[name])


def camera_names(chosen: Mapping[str, str], name: str = "cameras") -> list[str]:
    """Return the names in a comma-separated launch argument; "''" is the camera without a namespace.

    Raises:
        QueryDiffError: if one of several is empty.
    """
    names = [camera.strip() for camera in chosen[name].split(",")]
    if "" in names:
        raise QueryDiffError(
            f"Launch argument {name} holds an empty name, found {chosen[name]!r}: is a comma too much?"
        )
    return [camera.strip("'\"") for camera in names]


def existing_file(chosen: Mapping[str, str], name: str) -> str:
    """Return the path in the launch argument `name`.

    Raises:
        QueryDiffError: if there is no such file.
    """
    file = Path(chosen[name]).expanduser()
    if not file.is_file():
        raise QueryDiffError(f"Launch argument {name} names no file: {file}.")
    return str(file)


def with_segment_node(launch_file: str, describe: Callable[[Any], list[Any]]) -> list[Any]:
    """Return the entities of a launch file that start segment_node, and then what `describe` returns of its context.

    `describe` is called once before, so that what it refuses is refused while nothing runs: launch ends at an error
    and leaves behind what it was just starting.
    """
    from launch.actions import IncludeLaunchDescription, OpaqueFunction
    from launch.launch_description_sources import PythonLaunchDescriptionSource

    def check(context: Any) -> None:
        describe(context)

    segment = PythonLaunchDescriptionSource(str(Path(launch_file).with_name("segment.launch.py")))
    return [OpaqueFunction(function=check), IncludeLaunchDescription(segment), OpaqueFunction(function=describe)]
