"""ROS parameters as a frozen dataclass: declared and read once, wrong ones refused with a sentence."""

from __future__ import annotations

from dataclasses import field, fields
from typing import Any, TypeVar

from rcl_interfaces.msg import ParameterDescriptor
from rclpy.node import Node

from querydiff_core.errors import QueryDiffError

TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a string", list: "a list of strings"}
Parameters = TypeVar("Parameters")


def parameter(default: Any, meaning: str) -> Any:
    """Return a dataclass field for a parameter; a tuple of strings is a list of strings to ROS."""
    return field(default=default, metadata={"meaning": meaning})


def declare_parameters(node: Node, kind: type[Parameters]) -> Parameters:
    """Declare the fields of the dataclass `kind` on `node`, and return their values.

    Raises:
        QueryDiffError: if one is of the wrong type; `kind` may refuse values too.
    """
    values: dict[str, Any] = {}
    for option in fields(kind):  # type: ignore[arg-type]
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        # Typed here, not by ROS: an integer is a number too, and a wrong type gets a sentence.
        descriptor = ParameterDescriptor(description=option.metadata["meaning"], dynamic_typing=True)
        value = node.declare_parameter(option.name, default, descriptor).value
        values[option.name] = _checked(option.name, value, default)
    return kind(**values)


def _checked(name: str, value: Any, default: Any) -> Any:
    expected = type(default)
    if expected is float and type(value) is int:
        return float(value)
    if expected is list and not isinstance(value, str | int | float | None):
        value = list(value)
    if type(value) is not expected or (expected is list and not all(isinstance(item, str) for item in value)):
        raise QueryDiffError(f"Parameter {name} must be {TYPE_NAMES[expected]}, found {value!r}.")
    return tuple(value) if expected is list else value
