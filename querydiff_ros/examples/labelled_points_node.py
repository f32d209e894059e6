"""An example of what a planner does with labels and depth: points that know their class; `labelled_points` runs it."""

from __future__ import annotations

import re
import time
from collections import deque
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy, qos_profile_sensor_data
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from std_msgs.msg import Header

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import cityscapes
from querydiff_ros.common.calibration import image_sizes
from querydiff_ros.common.image_conversions import BadFrame, mono8_images
from querydiff_ros.common.node_parameters import declare_parameters, parameter, unknown_class
from querydiff_ros.common.stamps import RESTART_NS, EqualStamps, NearestStamp, header_stamp_ns
from querydiff_ros.common.topics import topic_fault, topic_name
from querydiff_ros.examples.point_clouds import (
    UNLABELLED,
    CloudBuffer,
    Pinhole,
    RigidTransform,
    cloud_message,
    depth_in_metres,
    unlabelled,
    xyz,
)

QOS = QoSProfile(depth=5, reliability=ReliabilityPolicy.RELIABLE)
WAITING = 5
"""Labels that wait for their depth, and further stamps that a label waits for its confidence."""
SCANS_WAITING = 60
"""A lidar's scans that wait for their label; without a scan for as many labels, the lidar counts as silent."""
KEEP_NS, KEEP_LABELS_NS = 3 * 10**9, 10**9
"""How long depth is kept, for labels come after it by an inference and a wait; and how long labels are for scans."""
COMPLAINT_PERIOD = 10.0
NOWHERE = "0 0 0 0 0 0 1"


def _transform_problem(text: str) -> str | None:
    try:
        RigidTransform.of(text or NOWHERE)
    except ValueError:
        return f"Parameter camera_from_points must be 'x y z qx qy qz qw', as tf2_echo has it, found {text!r}."
    return None


@dataclass(frozen=True)
class LabelledPointsParameters:
    """The parameters of `labelled_points`."""

    camera: str = parameter("front", "Namespace of the camera.")
    depth_topic: str = parameter("", "Depth images of the label's size, 32FC1 or 16UC1; empty: <camera>/depth.")
    points_topic: str = parameter("", "A lidar's points, to be used instead of depth images.")
    camera_from_points: str = parameter(
        "",
        "Where the lidar is in the camera's optical frame: 'x y z qx qy qz qw', metres; needed with points_topic.",
        problem=_transform_problem,
    )
    tolerance: float = parameter(0.02, "Seconds between the stamps of label and depth, at most.", between=(0.0, 1.0))
    classes: tuple[str, ...] = parameter(
        (), "Classes whose points are published; none: all points.", problem=unknown_class
    )
    min_confidence: float = parameter(0.0, "Pixels less certain than this are unlabelled.", between=(0.0, 1.0))

    def __post_init__(self) -> None:
        for name in ("camera", "depth_topic", "points_topic"):
            if (given := getattr(self, name)) and (fault := topic_fault(given)):
                raise QueryDiffError(f"Parameter {name} is {given!r}, which is no topic: {fault}.")
        if self.points_topic and not self.camera_from_points:
            raise QueryDiffError(
                "Parameter points_topic needs camera_from_points: `ros2 run tf2_ros tf2_echo CAMERA_OPTICAL_FRAME "
                "LIDAR_FRAME` prints it."
            )


class _Labels(NamedTuple):
    """A label image and its confidence, uint8 `(H, W)` each, under one header."""

    header: Header
    classes: np.ndarray
    confidence: np.ndarray


class LabelledPointsNode(Node):
    """Publish, for each label with its confidence, the depth measured nearest in time as points with their classes.

    With a lidar it is the other way round: each scan is published once, with the classes of the nearest label.

    Raises:
        QueryDiffError: if a parameter is wrong.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("labelled_points", automatically_declare_parameters_from_overrides=True, **node_options)
        self._params = params = declare_parameters(self, LabelledPointsParameters)
        self._least = int(np.ceil(params.min_confidence * 255))
        self._wanted = [cityscapes().names.index(name) for name in params.classes]
        self._camera_from_points = RigidTransform.of(params.camera_from_points or NOWHERE)
        self._inputs = tuple(self._topic(name) for name in ("label", "confidence"))
        self._pairs = EqualStamps[Image](self._inputs, WAITING)
        self._is_lidar = bool(params.points_topic)
        self._waiting: deque[Any] = deque()  # labels, or a lidar's scans
        self._kept = NearestStamp[Any](KEEP_LABELS_NS if self._is_lidar else KEEP_NS)  # what they wait for
        self._labels_since_measured = 0
        self._camera: CameraInfo | None = None
        self._buffer = CloudBuffer()
        self._said: dict[str, float] = {}
        self._cloud = self.create_publisher(PointCloud2, self._topic("labelled_points"), QOS)
        for topic in self._inputs:
            self._subscribe(topic)
        self._calibration = self._topic("label/camera_info")
        self.create_subscription(CameraInfo, self._calibration, self._on_calibration, QOS)
        source = params.points_topic or params.depth_topic
        self._source = self.resolve_topic_name(source) if source else self._topic("depth")
        kind = PointCloud2 if self._is_lidar else Image
        self.create_subscription(kind, self._source, self._on_measured, qos_profile_sensor_data)
        self.get_logger().info(f"{self._inputs[0]} and {self._source} give {self._topic('labelled_points')}.")

    def _topic(self, name: str) -> str:
        """Return the whole name of a topic of the camera, as it is remapped."""
        return self.resolve_topic_name(topic_name(self._params.camera, name))

    def _subscribe(self, topic: str) -> None:
        self.create_subscription(Image, topic, lambda message: self._on_image(topic, message), QOS)

    def _on_calibration(self, message: CameraInfo) -> None:
        self._camera = message

    def _on_measured(self, message: Image | PointCloud2) -> None:
        self._labels_since_measured = 0
        self._take(message, waits=self._is_lidar)

    def _on_image(self, topic: str, message: Image) -> None:
        stamp = header_stamp_ns(message.header)
        pair = self._pairs.add(topic, stamp, message)
        for silent in self._pairs.silent():
            self._complain(f"{silent} brings nothing, and {topic} does: no points are published")
        if pair is None:
            return
        try:
            images = mono8_images({name: pair[name] for name in self._inputs})
        except BadFrame as reason:
            self._complain(str(reason))
            return
        self._labels_since_measured += 1
        if self._is_lidar and self._labels_since_measured > SCANS_WAITING:
            self._complain(f"{self._source} brings nothing, and labels come: no points are published")
        self._take(_Labels(pair[self._inputs[0]].header, *images), waits=not self._is_lidar)

    def _take(self, message: Image | PointCloud2 | _Labels, waits: bool) -> None:
        stamp = header_stamp_ns(message.header)
        if not waits:
            self._kept.add(stamp, message)
        else:
            if self._waiting and stamp < header_stamp_ns(self._waiting[-1].header) - RESTART_NS:
                self._waiting.clear()
            self._waiting.append(message)
        self._answer()

    def _answer(self) -> None:
        """Answer what waits, if nothing nearer in time can come any more, or it has waited long enough."""
        newest, most = self._kept.newest, SCANS_WAITING if self._is_lidar else WAITING
        while self._waiting:
            stamp = header_stamp_ns(self._waiting[0].header)
            if (newest is None or newest < stamp) and len(self._waiting) <= most:
                return
            waiting = self._waiting.popleft()
            try:
                nearest = self._nearest(stamp)
                self._publish(*((nearest, waiting) if self._is_lidar else (waiting, nearest)))
            except BadFrame as reason:
                self._complain(str(reason))

    def _complain(self, reason: str) -> None:
        """Say why nothing is published, each reason now and then, whatever its numbers."""
        kind, now = re.sub(r"\d+", "", reason), time.monotonic()
        if now - self._said.get(kind, -COMPLAINT_PERIOD) >= COMPLAINT_PERIOD:
            self._said[kind] = now
            self.get_logger().warning(f"{reason}.")

    def _nearest(self, stamp: int) -> Any:
        """Return the depth nearest to a label, or the labels nearest to a scan."""
        nearest = self._kept.nearest(stamp)
        kept, waiting = (self._inputs[0], "scan") if self._is_lidar else (self._source, "label")
        if nearest is None:
            raise BadFrame(f"{kept} brings nothing, and {waiting}s come: no points are published")
        apart = abs(nearest[0] - stamp) / 1e9
        if apart > self._params.tolerance:
            raise BadFrame(
                f"{kept} has nothing within {self._params.tolerance:g} s of a {waiting}: the nearest is {apart:.3f} s "
                "apart; raise tolerance, or let one clock stamp both"
            )
        return nearest[1]

    def _publish(self, labels: _Labels, measured: Image | PointCloud2) -> None:
        if self._camera is None:
            raise BadFrame(f"{self._calibration} brings nothing: the camera's driver must send camera_info")
        height, width = labels.classes.shape
        if (width, height) not in image_sizes(self._camera):
            raise BadFrame(
                f"{self._calibration} is of images of {self._camera.width} x {self._camera.height} and the label is "
                f"{width} x {height}: the camera's driver must send that of its images"
            )
        try:
            pinhole = Pinhole.of(self._camera)
        except BadFrame as reason:
            raise BadFrame(f"{self._calibration} {reason}") from reason
        if self._cloud.get_subscription_count():
            self._cloud.publish(self._labelled(labels, measured, pinhole))

    def _labelled(self, labels: _Labels, measured: Image | PointCloud2, pinhole: Pinhole) -> PointCloud2:
        """Return the cloud: of a depth image pixel by pixel under the label's header, else under that of the points."""
        confidence = labels.confidence
        classes = np.where(confidence < self._least, np.uint8(UNLABELLED), labels.classes)
        try:
            if isinstance(measured, PointCloud2):
                cloud, header = unlabelled(points := xyz(measured)), measured.header
                seen, row, column = pinhole.pixels(self._camera_from_points(points), classes.shape)
                cloud["class"][seen], cloud["confidence"][seen] = classes[row, column], confidence[row, column]
            else:
                cloud, header = self._depth_cloud(depth_in_metres(measured), classes.shape, pinhole), labels.header
                cloud["class"], cloud["confidence"] = classes, confidence
        except BadFrame as reason:
            raise BadFrame(f"{self._source} {reason}") from reason
        if self._wanted:
            cloud = cloud[np.isin(cloud["class"], self._wanted) & np.isfinite(cloud["z"])]
        return self._buffer.message(header) if cloud.ndim == 2 else cloud_message(cloud, header)

    def _depth_cloud(self, depth: np.ndarray, size: tuple[int, ...], pinhole: Pinhole) -> np.ndarray:
        if depth.shape != size:
            sizes = [f"{width} x {height}" for height, width in (depth.shape, size)]
            raise BadFrame(f"is {sizes[0]} and the label {sizes[1]}: give depth that is registered to the camera")
        cloud = self._buffer.points(*size)
        pinhole.place(depth, cloud)
        return cloud
