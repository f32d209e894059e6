"""What each way to get CARLA into ROS 2 publishes: topics, encodings and quality of service, as data.

Read off carla-ros-bridge 0.9.13 (camera.py, pseudo_actor.py, bridge.py) and CARLA's own publishers (LibCarla/source/
carla/ros2) of the versions named.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass, replace

from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import LabelMapping, label_mapping

RGB, SEMANTIC = "rgb_front", "semantic_segmentation_front"
"""Names of the two cameras in the bridge's own example; native cameras carry them as their `ros_name`."""
STAND_IN_FOV = 66.8729
"""Horizontal field of view of the drive that `carla_stand_in` generates by default, degrees.

The wrong focal length of native interfaces follows from its last digits.
"""


@dataclass(frozen=True)
class CarlaInterface:
    """One interface; all images are `sensor_msgs/Image` `bgra8`, all topics reliable and volatile.

    Attributes:
        version: of CARLA, as the argument `carla_version` names it.
        name: of what publishes.
        vehicle: default name of the ego vehicle, the second part of its topics.
        frame_id: pattern of the cameras' frame ids.
        painted: semantic images show each tag in its colour of CARLA's CityScapes palette; otherwise red is the tag.
        mapping_name: label mapping that holds the tags and their colours.
        depth: of the publishers' queues.
        info_first: a camera's `camera_info` comes before its image.
        whole_roi: `camera_info` spells out the whole image as its region of interest.
        degrees_bug: the focal length in `camera_info` is wrong: the tangent is taken of degrees.
    """

    version: str
    name: str
    vehicle: str
    frame_id: str
    painted: bool
    mapping_name: str
    depth: int
    info_first: bool
    whole_roi: bool
    degrees_bug: bool

    @functools.cached_property
    def mapping(self) -> LabelMapping:
        """Return the label mapping of the tags."""
        return label_mapping(self.mapping_name)

    @property
    def qos(self) -> QoSProfile:
        """Return the quality of service of the image and camera_info publishers."""
        return QoSProfile(
            depth=self.depth, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.VOLATILE
        )

    def topic(self, camera: str, vehicle: str = "", kind: str = "image") -> str:
        """Return the topic of a camera's `image` or `camera_info`."""
        return f"/carla/{vehicle or self.vehicle}/{camera}/{kind}"

    def published_focal_length(self, width: int, fov: float) -> float:
        """Return the focal length in pixels that `camera_info` claims for a `fov` in degrees."""
        if self.degrees_bug:
            return width / (2 * math.tan(fov) * math.pi / 360)
        return focal_length(width, fov)


_BRIDGE = CarlaInterface(
    version="0.9.13",
    name="carla-ros-bridge 0.9.13",
    vehicle="ego_vehicle",
    frame_id="{vehicle}/{camera}",
    painted=True,
    mapping_name="carla_0_9_13",
    depth=10,
    info_first=True,
    whole_roi=False,
    degrees_bug=False,
)
_NATIVE = CarlaInterface(
    version="0.9.15",
    name="native ROS 2 of CARLA 0.9.15",
    vehicle="ego_vehicle",
    frame_id="{camera}",
    painted=False,
    mapping_name="carla",
    depth=1,
    info_first=False,
    whole_roi=True,
    degrees_bug=True,
)
_NEWER_NATIVE = replace(
    _NATIVE,
    version="0.9.16",
    name="native ROS 2 of CARLA 0.9.16",
    vehicle="hero",
    info_first=True,
)
INTERFACES = (_BRIDGE, _NATIVE, _NEWER_NATIVE)
"""All interfaces, oldest first."""

VERSIONS = tuple(interface.version for interface in INTERFACES)


def carla_interface(version: str) -> CarlaInterface:
    """Return the interface of a CARLA version.

    Raises:
        QueryDiffError: if there is none of that version.
    """
    for interface in INTERFACES:
        if interface.version == version:
            return interface
    known = ", ".join(f"{interface.version} ({interface.name})" for interface in INTERFACES)
    raise QueryDiffError(f"carla_version must be one of {known}, found {version!r}.")


def focal_length(width: int, fov: float) -> float:
    """Return the focal length in pixels of a camera `width` pixels and `fov` degrees wide."""
    return width / (2 * math.tan(math.radians(fov) / 2))


def field_of_view(width: int, focal: float) -> float:
    """Return the horizontal field of view in degrees of a camera `width` pixels wide; the inverse of `focal_length`."""
    return math.degrees(2 * math.atan(width / (2 * focal)))
