"""The parameters of the segment node."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from querydiff_core.errors import QueryDiffError
from querydiff_ros.common.engine_parameters import EngineParameters
from querydiff_ros.common.node_parameters import parameter
from querydiff_ros.common.topics import topic_fault, topic_name


def _camera_problem(cameras: Sequence[str]) -> str | None:
    if not cameras:
        return "Parameter cameras must name at least one camera, found an empty list."
    if len({camera.strip("/") for camera in cameras}) < len(cameras):
        return f"Parameter cameras must not name a camera twice, found {list(cameras)}."
    for camera in cameras:
        if fault := topic_fault(topic_name(camera, "image")):
            return f"Parameter cameras holds {camera!r}, which cannot begin a topic name: {fault}."
    return None


@dataclass(frozen=True)
class Parameters(EngineParameters):
    """The parameters of `segment_node`: those that are `live` may change at any time, the others before configure."""

    cameras: tuple[str, ...] = parameter(
        ("front",),
        "Namespaces of the cameras: `front` reads front/image and writes front/label. Empty: no prefix.",
        problem=_camera_problem,
    )
    image_topic: str = parameter(
        "", "Topics of the cameras' raw images, comma-separated, such as /usb/image_raw. Empty: <camera>/image."
    )
    camera_info_topic: str = parameter(
        "", "Topics of the cameras' calibrations, comma-separated. Empty: camera_info beside the images."
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
        0.0,
        "Frames whose stamp is older than this many seconds are dropped. 0: none.",
        between=(0.0, 3600.0),
        live=True,
    )
    max_rate: float = parameter(
        0.0, "Most inferences a second. 0: as many as the engine can.", between=(0.0, 1000.0), live=True
    )
    overlay_opacity: float = parameter(0.5, "Opacity of the colours on the overlay.", between=(0.0, 1.0), live=True)
    publish_confidence: bool = parameter(True, "Whether confidence is published beside the labels.", live=True)
    diagnostics_period: float = parameter(1.0, "Seconds between two messages on /diagnostics.", between=(0.05, 3600.0))
    bring_up: bool = parameter(False, "Whether the node configures and activates itself at start.")

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ("image_topic", "camera_info_topic"):
            given = _split(getattr(self, name))
            if given and len(given) != len(self.cameras):
                raise QueryDiffError(
                    f"Parameter {name} names {len(given)} topics: expected one for each of {len(self.cameras)} cameras."
                )
            for topic in filter(None, given):
                if fault := topic_fault(topic):
                    raise QueryDiffError(f"Parameter {name} holds {topic!r}, which is no topic: {fault}.")

    @property
    def min_period(self) -> float:
        """Return the least seconds between two inferences."""
        return 1 / self.max_rate if self.max_rate else 0.0

    def topics_of(self, camera: str) -> tuple[str, str]:
        """Return the topics of images and calibration that are given for `camera`, "" where none is."""
        place = self.cameras.index(camera)
        image, camera_info = (_split(names) for names in (self.image_topic, self.camera_info_topic))
        return (image[place] if image else ""), (camera_info[place] if camera_info else "")


def _split(names: str) -> list[str]:
    return [name.strip() for name in names.split(",")] if names.strip() else []
