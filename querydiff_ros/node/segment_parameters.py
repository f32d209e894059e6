"""The parameters of the segment node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from rclpy.exceptions import InvalidTopicNameException
from rclpy.validate_topic_name import validate_topic_name

from querydiff_core.errors import one_line
from querydiff_ros.common.engine_parameters import EngineParameters
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
class Parameters(EngineParameters):
    """The parameters of `segment_node`, read when it is configured: a change takes effect at the next configure."""

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
