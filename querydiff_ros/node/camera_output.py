"""The publishers of one camera; they exist while the node is configured, and send while it is active."""

from __future__ import annotations

import copy
import json
from contextlib import ExitStack
from typing import Any

import numpy as np
from rclpy.lifecycle import LifecycleNode, LifecyclePublisher, LifecycleState
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from querydiff_core.inference.segmenter import Segmentation, Segmenter
from querydiff_core.label_space import UNLABELLED, LabelSpace
from querydiff_core.utils.overlay import overlay
from querydiff_ros.common.calibration import image_sizes
from querydiff_ros.common.image_conversions import ImageBuffer, jpeg_message
from querydiff_ros.common.topics import LATCHED, topic_name
from querydiff_ros.node.camera_frame import CameraFrame
from querydiff_ros.node.segment_parameters import Parameters


class CameraOutput:
    """Publish labels, confidence, overlays and calibration of one camera, each under the header of its frame."""

    def __init__(self, node: LifecycleNode, camera: str, parameters: Parameters, segmenter: Segmenter):
        self._node = node
        self._camera = camera
        self._label_space = segmenter.label_space
        self._said_unfit = False
        self._labels, self._confidences, self._painted = ImageBuffer("mono8"), ImageBuffer("mono8"), ImageBuffer("rgb8")
        self._qos = QoSProfile(depth=5, reliability=ReliabilityPolicy[parameters.output_reliability.upper()])
        with ExitStack() as topics:  # withdrawn again should one of them be refused
            self._topics = topics
            self._label = self._publisher(Image, "label")
            self._has_confidence = segmenter.has_confidence
            self._confidence: LifecyclePublisher | None = None
            self.update(parameters)
            self._overlay = self._publisher(Image, "overlay")
            self._overlay_compressed = self._publisher(CompressedImage, "overlay/compressed")
            self._calibration = self._publisher(CameraInfo, "label/camera_info")
            self._label_map = self._publisher(String, "label_map", LATCHED)
            label_info = _label_info_type()
            self._label_info = self._publisher(label_info, "label_info", LATCHED) if label_info else None
            self._topics = topics.pop_all()

    def update(self, parameters: Parameters, state: LifecycleState | None = None) -> None:
        """Let the opacity of overlays, and whether confidence is published, be those of `parameters` from now on.

        `state`: of the node while it is active; a publisher that is made then must not wait for it to be activated.
        """
        self._opacity = parameters.overlay_opacity
        self._sends_confidence = parameters.publish_confidence and self._has_confidence
        if self._sends_confidence and self._confidence is None:
            self._confidence = self._publisher(Image, "confidence")
            if state is not None:
                self._confidence.on_activate(state)

    def close(self) -> None:
        """Withdraw the topics."""
        self._topics.close()

    def publish_classes(self) -> None:
        """Latch what the label values mean, for those who subscribe later."""
        self._label_map.publish(String(data=_label_map_json(self._label_space)))
        if self._label_info is not None:
            message = _label_info(self._label_info.msg_type, self._label_space)
            message.header.stamp = self._node.get_clock().now().to_msg()
            self._label_info.publish(message)

    def publish(self, frame: CameraFrame, segmentation: Segmentation, calibration: CameraInfo | None) -> None:
        """Publish the results of `frame`, and `calibration` as theirs."""
        self._label.publish(self._labels.filled(segmentation.labels, frame.header))
        if self._sends_confidence and self._confidence is not None and segmentation.confidence is not None:
            self._confidence.publish(self._confidences.filled(segmentation.confidence, frame.header))
        if calibration is not None and self._fits(calibration, segmentation.labels.shape):
            # The label has the camera's size, so its calibration holds; a pair is matched by equal stamps.
            matched = copy.copy(calibration)
            matched.header = frame.header
            self._calibration.publish(matched)

    def _fits(self, calibration: CameraInfo, shape: tuple[int, ...]) -> bool:
        """Tell whether a calibration is that of images of `shape` (H, W); say once if it is not."""
        height, width = shape[:2]
        fits = (width, height) in image_sizes(calibration)
        if not fits and not self._said_unfit:
            self._said_unfit = True
            self._node.get_logger().warning(
                f"{topic_name(self._camera, 'camera_info')} is of images of {calibration.width} x {calibration.height} "
                f"and the camera's are {width} x {height}: it is not sent with their labels."
            )
        return fits

    def publish_overlay(self, frame: CameraFrame, rgb: np.ndarray, labels: np.ndarray) -> None:
        """Paint `labels` `(H, W)` over the pixels `rgb` `(H, W, 3)` of `frame`, if somebody watches."""
        raw, compressed = self._overlay.get_subscription_count(), self._overlay_compressed.get_subscription_count()
        if not (raw or compressed):
            return
        painted = overlay(rgb, labels, self._label_space, self._opacity, self._painted.pixels(rgb.shape))
        if raw:
            self._overlay.publish(self._painted.message(frame.header))
        if compressed:
            self._overlay_compressed.publish(jpeg_message(painted, frame.header))

    def _publisher(self, kind: type, name: str, qos: QoSProfile | None = None) -> LifecyclePublisher:
        publisher = self._node.create_lifecycle_publisher(kind, topic_name(self._camera, name), qos or self._qos)
        self._topics.callback(self._node.destroy_lifecycle_publisher, publisher)
        return publisher


def _label_map_json(label_space: LabelSpace) -> str:
    rows = zip(label_space.names, label_space.palette, strict=True)
    classes = [{"id": i, "name": name, "color": list(color)} for i, (name, color) in enumerate(rows)]
    return json.dumps({"classes": classes, "unlabelled": UNLABELLED})


def _label_info_type() -> type | None:
    try:
        from vision_msgs.msg import LabelInfo
    except ImportError:
        return None
    return LabelInfo


def _label_info(label_info: Any, label_space: LabelSpace) -> Any:
    from vision_msgs.msg import VisionClass

    classes = [VisionClass(class_id=i, class_name=name) for i, name in enumerate(label_space.names)]
    return label_info(class_map=classes, threshold=0.0)
