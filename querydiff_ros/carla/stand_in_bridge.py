"""A stand-in for CARLA's bridges: drives of the generated street scenes on exactly their topics."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from builtin_interfaces.msg import Time
from rclpy.duration import Duration
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, RegionOfInterest
from std_msgs.msg import Header, String

from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes import DriveFrame
from querydiff_ros.bags.label_watch import LabelWatch
from querydiff_ros.carla.interface import RGB, SEMANTIC, CarlaInterface, field_of_view
from querydiff_ros.carla.semantics import semantic_pixels
from querydiff_ros.carla.weather import WEATHER_TOPIC, weather_message_type
from querydiff_ros.common.image_conversions import image_message
from querydiff_ros.common.ros_session import spin_until
from querydiff_ros.common.topics import CONDITION_TOPIC, LATCHED, topic_name

FIRST_STAMP_NS = 10**9
"""Stamps are simulated time: a second has passed when the drive begins."""
LINE_CONTRAST = 30
"""Road that much brighter than the road around it is taken for a line on it."""
ACKNOWLEDGED_WITHIN = Duration(seconds=10)
WEATHER_NUMBERS = {
    "fog": ("fog_density", 60.0),
    "rain": ("precipitation", 80.0),
    "night": ("sun_altitude_angle", -20.0),
}


@dataclass(frozen=True)
class StandInOptions:
    """How to play.

    `rate`: frames a second, 0 without pauses. `lockstep`: after each frame wait for its label on `<camera>/label`.
    `coded`: RGB images hold the trainId in red and 255 in green, for engines that read the answer off them.
    `vehicle`: name in the topics, empty for the interface's usual one. `wait`: seconds to wait for listeners in
    lockstep. `timeout`: seconds to wait for a label.
    """

    rate: float = 10.0
    lockstep: bool = False
    coded: bool = False
    camera: str = "front"
    vehicle: str = ""
    wait: float = 30.0
    timeout: float = 30.0


class CarlaStandIn:
    """Publish frames through `node`, which this object spins, as `interface` does.

    Attributes:
        published: frames sent.
    """

    def __init__(self, node: Node, interface: CarlaInterface, options: StandInOptions) -> None:
        self._node, self._interface, self._options = node, interface, options
        self._executor = SingleThreadedExecutor(context=node.context)
        self._executor.add_node(node)
        self._images = {camera: self._publisher(Image, camera, "image") for camera in (RGB, SEMANTIC)}
        self._infos = {camera: self._publisher(CameraInfo, camera, "camera_info") for camera in (RGB, SEMANTIC)}
        self._clock = node.create_publisher(Clock, "/clock", 10)
        self._condition_publisher = node.create_publisher(String, CONDITION_TOPIC, LATCHED)
        self._weather_type: Any = weather_message_type()
        self._weather = node.create_publisher(self._weather_type, WEATHER_TOPIC, 10) if self._weather_type else None
        self._watch = LabelWatch(node, topic_name(options.camera, "label"))
        self._condition = ""
        self.published = 0

    def play(self, frames: Iterable[DriveFrame]) -> Iterator[int]:
        """Publish frame after frame at its time, and yield its stamp in ns once it is out (in lockstep: labelled).

        Raises:
            QueryDiffError: in lockstep, if nobody listens or a frame gets no label.
        """
        if self._options.lockstep and not self.spin_until(self._is_heard, self._options.wait):
            raise QueryDiffError(
                f"Within {self._options.wait:g} s no listener of {self._images[RGB].topic_name} and of "
                f"{self._images[SEMANTIC].topic_name} with labels on {self._watch.topic} was found: start segment_node "
                "and carla_evaluation, or leave out --lockstep."
            )
        due = time.monotonic()
        for frame in frames:
            self.spin_until(lambda: False, due - time.monotonic())
            yield self._publish(frame)
            due = max(due, time.monotonic() - 1.0) + (1 / self._options.rate if self._options.rate else 0.0)

    def spin_until(self, condition: Callable[[], bool], seconds: float) -> bool:
        """Run the node's callbacks until `condition` holds; False if it does not within `seconds`."""
        return spin_until(self._executor, condition, seconds)

    def _publisher(self, kind: type, camera: str, name: str) -> Any:
        topic = self._interface.topic(camera, self._options.vehicle, name)
        return self._node.create_publisher(kind, topic, self._interface.qos)

    def _is_heard(self) -> bool:
        connected = self._watch.connect()
        return connected and all(publisher.get_subscription_count() for publisher in self._images.values())

    def _publish(self, frame: DriveFrame) -> int:
        stamp_ns = FIRST_STAMP_NS + frame.stamp
        stamp = Time(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9)
        self._clock.publish(Clock(clock=stamp))
        self._tell_weather(frame.condition)
        images = {
            camera: image_message(pixels, "bgra8", Header(stamp=stamp, frame_id=self._frame_id(camera)))
            for camera, pixels in self._pixels(frame).items()
        }
        for camera, image in images.items():
            self._publish_camera(camera, image, self._camera_info(frame, image.header))
        self.published += 1
        if self._options.lockstep:
            self._wait_for_label(stamp_ns, images[RGB])
        return stamp_ns

    def _publish_camera(self, camera: str, image: Image, info: CameraInfo) -> None:
        sent = [(self._infos[camera], info), (self._images[camera], image)]
        for publisher, message in sent if self._interface.info_first else reversed(sent):
            publisher.publish(message)

    def _pixels(self, frame: DriveFrame) -> dict[str, np.ndarray]:
        lines = road_lines(frame.image, frame.labels)
        bgra = np.full((*frame.labels.shape, 4), 255, np.uint8)
        bgra[..., :3] = frame.image[..., ::-1]
        if self._options.coded:
            bgra[..., 0], bgra[..., 1], bgra[..., 2] = 0, 255, frame.labels
        return {RGB: bgra, SEMANTIC: semantic_pixels(frame.labels, lines, self._interface)}

    def _frame_id(self, camera: str) -> str:
        vehicle = self._options.vehicle or self._interface.vehicle
        return self._interface.frame_id.format(vehicle=vehicle, camera=camera)

    def _camera_info(self, frame: DriveFrame, header: Header) -> CameraInfo:
        height, width = frame.camera_info.height, frame.camera_info.width
        fov = field_of_view(width, frame.camera_info.focal_length)
        f, cx, cy = self._interface.published_focal_length(width, fov), width / 2, height / 2
        roi = RegionOfInterest()
        if self._interface.whole_roi:
            roi = RegionOfInterest(height=height, width=width, do_rectify=True)
        return CameraInfo(
            header=header,
            height=height,
            width=width,
            distortion_model="plumb_bob",
            d=[0.0] * 5,
            k=[f, 0.0, cx, 0.0, f, cy, 0.0, 0.0, 1.0],
            r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
            p=[f, 0.0, cx, 0.0, 0.0, f, cy, 0.0, 0.0, 0.0, 1.0, 0.0],
            roi=roi,
        )

    def _tell_weather(self, condition: str) -> None:
        if condition == self._condition:
            return
        self._condition = condition
        self._condition_publisher.publish(String(data=condition))
        if self._weather is not None:
            weather = self._weather_type(sun_altitude_angle=45.0)
            if condition in WEATHER_NUMBERS:
                setattr(weather, *WEATHER_NUMBERS[condition])
            self._weather.publish(weather)

    def _wait_for_label(self, stamp_ns: int, rgb: Image) -> None:
        for publisher in self._images.values():
            publisher.wait_for_all_acked(ACKNOWLEDGED_WITHIN)
        end, patience = time.monotonic() + self._options.timeout, self._options.timeout / 10
        while not self.spin_until(lambda: stamp_ns in self._watch.stamps, patience):
            if time.monotonic() >= end:
                raise QueryDiffError(
                    f"No label on {self._watch.topic} for the frame of stamp {stamp_ns / 1e9:.3f} s within "
                    f"{self._options.timeout:g} s: is segment_node active, and is its log in order?"
                )
            self._images[RGB].publish(rgb)  # the node listens at best effort
        self._watch.stamps.clear()


def road_lines(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return where the road of uint8 RGB `image` `(H, W, 3)` is marked, bool `(H, W)`; the scenes label it as road."""
    brightness = image.max(-1)
    around = cv2.medianBlur(brightness, 31)
    marked: np.ndarray = (labels == 0) & (cv2.subtract(brightness, around) > LINE_CONTRAST)
    return marked
