"""ROS parameters as a frozen dataclass: described, declared and read once, wrong ones refused with a sentence."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, field, fields
from difflib import get_close_matches
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import cityscapes

TYPE_NAMES = {bool: "true or false", int: "an integer", float: "a number", str: "a string", list: "a list of strings"}
MOST = 2**63 - 1
"""The largest integer of ROS."""

ROS_PARAMETERS = ("use_sim_time", "start_type_description_service", "qos_overrides.")
NOW, LATER = " A change holds at once.", " Read when the node is configured."

Parameters = TypeVar("Parameters")


def parameter(
    default: Any,
    meaning: str,
    *,
    between: tuple[float, float] | None = None,
    one_of: Sequence[str] = (),
    problem: Callable[[Any], str | None] = lambda value: None,
    live: bool = False,
) -> Any:
    """Return a dataclass field for a parameter of the type of `default`; a tuple of strings is a list to ROS.

    Args:
        default: its value unless a user gives another.
        meaning: a sentence for its descriptor.
        between: least and greatest value, both allowed; the greatest may be infinite.
        one_of: the values to choose from.
        problem: return the sentence that refuses a value of the right type, or None.
        live: whether it may change, and does so at once, while the node works with what it has read.
    """
    limits = {"between": between, "one_of": tuple(one_of), "problem": problem, "live": live}
    return field(default=default, metadata={"meaning": meaning, **limits})


def declare_parameters(node: Node, kind: type[Parameters]) -> Parameters:
    """Declare the fields of the dataclass `kind` on `node` as read-only parameters, and return their values.

    Raises:
        QueryDiffError: if one is wrong; `kind` may refuse values too.
    """
    return ParameterReader(node, kind, read_only=True).read()


def unknown_class(names: Sequence[str]) -> str | None:
    """Return the sentence that refuses a list of classes, or None."""
    known = cityscapes().names
    unknown = next((name for name in names if name not in known), None)
    return unknown and f"Parameter classes holds {unknown!r}: expected some of {', '.join(known)}."


class ParameterReader(Generic[Parameters]):
    """Declare the fields of the dataclass `kind` as parameters of `node`, judge every change, and read them.

    A wrong start value must not end the process: it is kept as a problem that `read` raises, until it is set right.

    Args:
        node: whose parameters they are.
        kind: the dataclass.
        read_only: whether none may ever change.
        in_use: return whether the node works with what it has read, so that only live parameters may change.
        use: is given the new values when a live parameter changes meanwhile.
    """

    def __init__(
        self,
        node: Node,
        kind: type[Parameters],
        *,
        read_only: bool = False,
        in_use: Callable[[], bool] = lambda: False,
        use: Callable[[Parameters], None] = lambda values: None,
    ) -> None:
        self._node, self._kind, self._read_only, self._in_use, self._use = node, kind, read_only, in_use, use
        self._options: dict[str, Field[Any]] = {option.name: option for option in fields(kind)}  # type: ignore[arg-type]
        self._problems: dict[str, str] = {}
        for option in self._options.values():
            self._declare(option)
        self._warn_of_unknown()
        if hasattr(node, "add_pre_set_parameters_callback"):  # not in Humble: there, ROS refuses integers for numbers
            node.add_pre_set_parameters_callback(self._take_integers_for_numbers)
        node.add_on_set_parameters_callback(self._judge_change)

    def read(self) -> Parameters:
        """Return the current values.

        Raises:
            QueryDiffError: if one of them is out of range, unknown or of the wrong type.
        """
        for problem in self._problems.values():
            raise QueryDiffError(problem)
        return self._with({})

    def _with(self, changed: Mapping[str, Any]) -> Parameters:
        values = {name: _plain(self._node.get_parameter(name).value) for name in self._options} | dict(changed)
        return self._kind(**{name: tuple(v) if isinstance(v, list) else v for name, v in values.items()})

    def _declare(self, option: Field[Any]) -> None:
        default = list(option.default) if isinstance(option.default, tuple) else option.default
        value = self._start_value(option.name)
        if type(value) is int and type(default) is float:  # `max_age:=1` means 1.0
            value = float(value)
        if value is None:
            value = default
        elif problem := _problem(option, value):
            self._problems[option.name] = problem
            value = default
        self._node.declare_parameter(option.name, value, self._descriptor(option), ignore_override=True)

    def _warn_of_unknown(self) -> None:
        """Name what was set and is no parameter; nodes that declare their overrides by themselves know of it."""
        for name in sorted(self._node.get_parameters_by_prefix("")):
            if name not in self._options and not name.startswith(ROS_PARAMETERS):
                near = get_close_matches(name, self._options, 1)
                meant = f"; did you mean {near[0]}?" if near else "."
                self._node.get_logger().warning(f"Parameter {name} is unknown and changes nothing{meant}")

    def _start_value(self, name: str) -> Any:
        # Declared without type or range, so that any override comes through to be judged here.
        if not self._node.has_parameter(name):
            self._node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True))
        value = self._node.get_parameter(name).value
        self._node.undeclare_parameter(name)
        return _plain(value)

    def _judge_change(self, changed: Sequence[Parameter]) -> SetParametersResult:
        ours = [parameter for parameter in changed if parameter.name in self._options]
        for parameter in ours:
            if problem := self._refusal(parameter):
                return SetParametersResult(successful=False, reason=problem)
        if self._in_use():
            try:
                self._use(self._with({parameter.name: _plain(parameter.value) for parameter in ours}))
            except QueryDiffError as error:
                return SetParametersResult(successful=False, reason=str(error))
        for parameter in ours:
            self._problems.pop(parameter.name, None)
        return SetParametersResult(successful=True)

    def _refusal(self, parameter: Parameter) -> str | None:
        option, value = self._options[parameter.name], _plain(parameter.value)
        if problem := _problem(option, value):
            return problem
        changes = value != _plain(self._node.get_parameter(option.name).value)
        if changes and self._in_use() and not option.metadata["live"]:
            return f"Parameter {option.name} is read when the node is configured: clean it up, then set it."
        return None

    def _take_integers_for_numbers(self, changed: list[Parameter]) -> list[Parameter]:
        return [
            Parameter(each.name, value=float(each.value))
            if type(each.value) is int and type(getattr(self._options.get(each.name), "default", None)) is float
            else each
            for each in changed
        ]

    def _descriptor(self, option: Field[Any]) -> ParameterDescriptor:
        when = "" if self._read_only else NOW if option.metadata["live"] else LATER
        descriptor = ParameterDescriptor(description=option.metadata["meaning"] + when, read_only=self._read_only)
        if option.metadata["one_of"]:
            descriptor.additional_constraints = f"one of {', '.join(option.metadata['one_of'])}"
        if option.metadata["between"]:
            low, high = option.metadata["between"]
            if isinstance(option.default, float):
                descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
            else:
                most = MOST if math.isinf(high) else int(high)
                descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=most, step=1)]
        return descriptor


def _problem(option: Field[Any], value: Any) -> str | None:
    """Return the sentence that refuses `value`, or None."""
    expected: type = list if isinstance(option.default, tuple) else type(option.default)
    between, one_of = option.metadata["between"], option.metadata["one_of"]
    if not _has_type(value, expected):
        return f"Parameter {option.name} must be {TYPE_NAMES[expected]}, found {value!r}."
    if between and not between[0] <= value <= between[1]:
        low, high = between
        allowed = f"be at least {low}" if math.isinf(high) else f"lie between {low} and {high}"
        return f"Parameter {option.name} must {allowed}, found {value}."
    if one_of and value not in one_of:
        return f"Parameter {option.name} must be one of {', '.join(one_of)}, found {value!r}."
    found: str | None = option.metadata["problem"](value)
    return found


def _has_type(value: Any, expected: type) -> bool:
    # Exactly: a bool is an int to isinstance, and 1 must not pass for true.
    same: bool = type(value) is expected
    return same and (not isinstance(value, list) or all(isinstance(item, str) for item in value))


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else list(value)
