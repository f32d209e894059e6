"""The node that puts right the focal length of CARLA's cameras."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from rclpy.node import Node
from sensor_msgs.msg import CameraInfo

from querydiff_core.errors import QueryDiffError
from querydiff_ros.carla.interface import RGB, CarlaInterface, carla_interface, focal_length
from querydiff_ros.common.node_parameters import declare_parameters, parameter
from querydiff_ros.common.topics import topic_name

COMPLAINT_PERIOD = 10.0


def _fov_problem(fov: float) -> str | None:
    return None if 0 < fov < 180 else f"Parameter fov must lie between 0 and 180 degrees, found {fov:g}."


@dataclass(frozen=True)
class CarlaCameraInfoParameters:
    """Parameters of `carla_camera_info`."""

    carla_version: str = parameter("", "Which CARLA runs: 0.9.15 or 0.9.16; the bridge of 0.9.13 is right already.")
    camera: str = parameter("front", "Namespace of the camera to write to.")
    vehicle: str = parameter("", "Name of the ego vehicle in CARLA's topics. Empty: the interface's usual one.")
    rgb: str = parameter(RGB, "Name of the RGB camera in CARLA's topics.")
    fov: float = parameter(90.0, "The camera's attribute fov in CARLA: horizontal, degrees.", problem=_fov_problem)


class CarlaCameraInfoNode(Node):
    """Republish calibrations, corrected.

    Raises:
        QueryDiffError: if a parameter is wrong.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("carla_camera_info", automatically_declare_parameters_from_overrides=True, **node_options)
        params = declare_parameters(self, CarlaCameraInfoParameters)
        self._interface, self._fov = carla_interface(params.carla_version), params.fov
        if not self._interface.degrees_bug:
            raise QueryDiffError(
                f"{self._interface.name} publishes the right focal length: nothing is to be corrected."
            )
        self._publisher = self.create_publisher(
            CameraInfo, topic_name(params.camera, "camera_info"), self._interface.qos
        )
        self._topic = self._interface.topic(params.rgb, params.vehicle, "camera_info")
        self.create_subscription(CameraInfo, self._topic, self._on_camera_info, self._interface.qos)

    def _on_camera_info(self, message: CameraInfo) -> None:
        try:
            self._publisher.publish(corrected(message, self._interface, self._fov))
        except QueryDiffError as error:
            self.get_logger().error(f"{self._topic}: {error}", throttle_duration_sec=COMPLAINT_PERIOD)


def corrected(message: CameraInfo, interface: CarlaInterface, fov: float) -> CameraInfo:
    """Return `message` with the focal length of a camera `fov` degrees wide.

    Raises:
        QueryDiffError: if its focal length is neither that nor what the interface's defect makes of it: then `fov` is
            not the camera's.
    """
    right, claimed = focal_length(message.width, fov), message.k[0]
    published = interface.published_focal_length(message.width, fov)
    if not any(math.isclose(claimed, each, rel_tol=1e-3) for each in (right, published)):
        raise QueryDiffError(
            f"the focal length {claimed:.1f} is not what {interface.name} publishes for a field of view of {fov:g} "
            f"degrees ({published:.1f}): set the parameter fov to the camera's in CARLA."
        )
    message.k[0] = message.k[4] = message.p[0] = message.p[5] = right
    return message
