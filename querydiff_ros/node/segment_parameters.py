"""The parameters of the segment node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast, get_args

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from querydiff_core.errors import QueryDiffError, one_line
from querydiff_core.inference.engine import EngineOptions, Provider
from querydiff_ros.common.node_parameters import parameter


def _camera_problem(cameras: Sequence[str]) -> str | None:
    if not cameras:
        return "Parameter cameras must name at least one camera, found an empty list."
    if len(set(cameras)) < len(cameras):
        return f"Parameter cameras must not name a camera twice, found {list(cameras)}."
    for camera in cameras:
        try:
            validate_topic_name(f"{camera}/image" if camera else "image")
        except InvalidTopicNameException as error:
            reason = one_line(error, only=0).removeprefix("Invalid topic name: ")
            return f"Parameter cameras holds {camera!r}, which cannot begin a topic name: {reason}."
    return None


@dataclass(frozen=True)
class Parameters:
    """The parameters of `segment_node`, read when it is configured: a change takes effect at the next configure."""

    engine: str = parameter(
        "", "Exported engine (.onnx, .pt2, .engine) or checkpoint (.safetensors). Empty: the default that is shipped."
    )
    device: str = parameter("auto", "Where the engine runs: auto, cpu, cuda or cuda:N.")
    provider: str = parameter(
        "auto",
        "What runs .onnx engines: ONNX Runtime's cpu, cuda or tensorrt, or openvino. auto: the device's own.",
        one_of=get_args(Provider),
    )
    cuda_graphs: bool = parameter(False, "Whether .pt2 and .engine engines on a GPU are replayed as CUDA graphs.")
    fallback: bool = parameter(
        False,
        "Whether the checkpoint runs that a .pt2 or .engine file names, where the file does not fit this machine.",
    )
    threads: int = parameter(0, "CPU threads of the engine. 0: the engine's own choice.", between=(0, 1024))
    window: int = parameter(0, "Side of the sliding window in pixels. 0: the whole image at once.", between=(0, 8192))
    stride: int = parameter(0, "Step of the sliding window in pixels. 0: two thirds of window.", between=(0, 8192))
    cameras: tuple[str, ...] = parameter(
        ("front",),
        "Namespaces of the cameras: `front` reads front/image and writes front/label. Empty: no prefix.",
        problem=_camera_problem,
    )
    transport: str = parameter(
        "both",
        "Which input topics are subscribed: image, image/compressed or both.",
        one_of=("raw", "compressed", "both"),
    )
    input_reliability: str = parameter(
        "best_effort", "QoS reliability of the subscriptions.", one_of=("best_effort", "reliable")
    )
    output_reliability: str = parameter(
        "reliable", "QoS reliability of the image publishers.", one_of=("best_effort", "reliable")
    )
    max_age: float = parameter(
        0.0, "Frames whose stamp is older than this many seconds are dropped. 0: none.", between=(0.0, 3600.0)
    )
    max_rate: float = parameter(0.0, "Most inferences a second. 0: as many as the engine can.", between=(0.0, 1000.0))
    overlay_opacity: float = parameter(0.5, "Opacity of the colours on the overlay.", between=(0.0, 1.0))
    publish_confidence: bool = parameter(True, "Whether confidence is published beside the labels.")
    diagnostics_period: float = parameter(1.0, "Seconds between two messages on /diagnostics.", between=(0.05, 3600.0))
    bring_up: bool = parameter(False, "Whether the node configures and activates itself at start.")

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
