"""The parameters of the segment node: declared once, read once, wrong ones refused with a sentence."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, cast, get_args

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor, SetParametersResult
from rclpy.exceptions import InvalidTopicNameException
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.validate_topic_name import validate_topic_name

from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.engine import EngineOptions, Provider
from querydiff_ros.common.node_parameters import TYPE_NAMES


def _parameter(
    default: Any, meaning: str, *, between: tuple[float, float] | None = None, one_of: Sequence[str] = ()
) -> Any:
    return field(default=default, metadata={"meaning": meaning, "between": between, "one_of": tuple(one_of)})


@dataclass(frozen=True)
class Parameters:
    """What `segment_node` is told; read when it is configured, so that a change takes effect at the next configure."""

    engine: str = _parameter(
        "", "Exported engine (.onnx, .pt2, .engine) or checkpoint (.safetensors). Empty: the default that is shipped."
    )
    device: str = _parameter("auto", "Where the engine runs: auto, cpu, cuda or cuda:N.")
    provider: str = _parameter(
        "auto",
        "What runs .onnx engines: ONNX Runtime's cpu, cuda or tensorrt, or openvino. auto: the device's own.",
        one_of=get_args(Provider),
    )
    cuda_graphs: bool = _parameter(False, "Whether .pt2 and .engine engines on a GPU are replayed as CUDA graphs.")
    fallback: bool = _parameter(
        False,
        "Whether the checkpoint runs that a .pt2 or .engine file names, where the file does not fit this machine.",
    )
    threads: int = _parameter(0, "CPU threads of the engine. 0: the engine's own choice.", between=(0, 1024))
    window: int = _parameter(0, "Side of the sliding window in pixels. 0: the whole image at once.", between=(0, 8192))
    stride: int = _parameter(0, "Step of the sliding window in pixels. 0: two thirds of window.", between=(0, 8192))
    cameras: tuple[str, ...] = _parameter(
        ("front",), "Namespaces of the cameras: `front` reads front/image and writes front/label. Empty: no prefix."
    )
    transport: str = _parameter(
        "both",
        "Which input topics are subscribed: image, image/compressed or both.",
        one_of=("raw", "compressed", "both"),
    )
    input_reliability: str = _parameter(
        "best_effort", "QoS reliability of the subscriptions.", one_of=("best_effort", "reliable")
    )
    output_reliability: str = _parameter(
        "reliable", "QoS reliability of the image publishers.", one_of=("best_effort", "reliable")
    )
    max_age: float = _parameter(
        0.0, "Frames whose stamp is older than this many seconds are dropped. 0: none.", between=(0.0, 3600.0)
    )
    max_rate: float = _parameter(0.0, "Most inferences a second. 0: as many as the engine can.", between=(0.0, 1000.0))
    overlay_opacity: float = _parameter(0.5, "Opacity of the colours on the overlay.", between=(0.0, 1.0))
    publish_confidence: bool = _parameter(True, "Whether confidence is published beside the labels.")
    diagnostics_period: float = _parameter(1.0, "Seconds between two messages on /diagnostics.", between=(0.05, 3600.0))
    bring_up: bool = _parameter(False, "Whether the node configures and activates itself at start.")

    def __post_init__(self) -> None:
        if self.stride > self.window:
            raise QueryDiffError(
                f"Parameter stride is {self.stride}, but window is {self.window}: a stride must not exceed its window."
            )

    @property
    def engine_options(self) -> EngineOptions:
        """Return what they say of the model and how it runs."""
        return EngineOptions(
            model=self.engine,
            device=self.device,
            threads=self.threads or None,
            provider=cast(Provider, self.provider),  # checked when it was read
            cuda_graphs=self.cuda_graphs,
            fallback=self.fallback,
            window=self.window or None,
            stride=self.stride or None,
        )


def engine_parameters(options: EngineOptions) -> dict[str, object]:
    """Return `options` as parameters of the node; `size`, which only checkpoints take, is none of them."""
    return {
        "engine": str(options.file.resolve()) if options.model else "",
        "device": options.device,
        "threads": options.threads or 0,
        "provider": options.provider,
        "cuda_graphs": options.cuda_graphs,
        "fallback": options.fallback,
        "window": options.window or 0,
        "stride": options.stride or 0,
    }


class ParameterReader:
    """Declare the parameters on a node, and read them.

    A wrong start value must not end the process: it is kept as a problem that `read` raises, until it is set right.
    """

    def __init__(self, node: Node):
        self._node = node
        self._problems: dict[str, str] = {}
        for option in fields(Parameters):
            self._declare(option)
        node.add_on_set_parameters_callback(self._judge_change)

    def read(self) -> Parameters:
        """Return the current values.

        Raises:
            QueryDiffError: if one of them is out of range, unknown or of the wrong type.
        """
        for problem in self._problems.values():
            raise QueryDiffError(problem)
        values = {option.name: self._node.get_parameter(option.name).value for option in fields(Parameters)}
        return Parameters(**{**values, "cameras": tuple(values["cameras"])})

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
        self._node.declare_parameter(option.name, value, _descriptor(option), ignore_override=True)

    def _start_value(self, name: str) -> Any:
        # Declared without type or range, so that any override comes through to be judged here.
        value = self._node.declare_parameter(name, None, ParameterDescriptor(dynamic_typing=True)).value
        self._node.undeclare_parameter(name)
        return _plain(value)

    def _judge_change(self, changed: Sequence[Parameter]) -> SetParametersResult:
        options = {option.name: option for option in fields(Parameters)}
        ours = [parameter for parameter in changed if parameter.name in options]
        for parameter in ours:
            if problem := _problem(options[parameter.name], _plain(parameter.value)):
                return SetParametersResult(successful=False, reason=problem)
        for parameter in ours:
            self._problems.pop(parameter.name, None)
        return SetParametersResult(successful=True)


def _descriptor(option: Field[Any]) -> ParameterDescriptor:
    descriptor = ParameterDescriptor(description=option.metadata["meaning"])
    if option.metadata["one_of"]:
        descriptor.additional_constraints = f"one of {', '.join(option.metadata['one_of'])}"
    if option.metadata["between"]:
        low, high = option.metadata["between"]
        if isinstance(option.default, float):
            descriptor.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high))]
        else:
            descriptor.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    return descriptor


def _problem(option: Field[Any], value: Any) -> str | None:
    """Return the sentence that refuses `value`, or None."""
    expected: type = list if isinstance(option.default, tuple) else type(option.default)
    between, one_of = option.metadata["between"], option.metadata["one_of"]
    if not _has_type(value, expected):
        return f"Parameter {option.name} must be {TYPE_NAMES[expected]}, found {value!r}."
    if between and not between[0] <= value <= between[1]:
        return f"Parameter {option.name} must lie between {between[0]} and {between[1]}, found {value}."
    if one_of and value not in one_of:
        return f"Parameter {option.name} must be one of {', '.join(one_of)}, found {value!r}."
    return _camera_problem(value) if option.name == "cameras" else None


def _has_type(value: Any, expected: type) -> bool:
    # Exactly: a bool is an int to isinstance, and 1 must not pass for true.
    same: bool = type(value) is expected
    return same and (not isinstance(value, list) or all(isinstance(item, str) for item in value))


def _camera_problem(cameras: Sequence[str]) -> str | None:
    if not cameras:
        return "Parameter cameras must name at least one camera, found an empty list."
    if len(set(cameras)) < len(cameras):
        return f"Parameter cameras must not name a camera twice, found {list(cameras)}."
    for camera in cameras:
        try:
            validate_topic_name(f"{camera}/image" if camera else "image")
        except InvalidTopicNameException as error:
            reason = str(error).splitlines()[0].removeprefix("Invalid topic name: ")
            return f"Parameter cameras holds {camera!r}, which cannot begin a topic name: {reason}."
    return None


def _plain(value: Any) -> Any:
    return value if isinstance(value, str | int | float | None) else list(value)
