"""The working part of the node: frames of all cameras through one engine."""

from __future__ import annotations

import math
import time
from collections.abc import Mapping
from contextlib import ExitStack

import cv2
import numpy as np
from lifecycle_msgs.msg import State
from rclpy.lifecycle import LifecycleNode, LifecycleState

from querydiff_core.errors import described
from querydiff_core.inference.segmenter import Segmentation, Segmenter, of_one_size
from querydiff_ros.common.image_conversions import BadFrame
from querydiff_ros.node.camera_frame import CameraFrame
from querydiff_ros.node.camera_input import CameraInput
from querydiff_ros.node.camera_output import CameraOutput
from querydiff_ros.node.camera_statistics import CameraStatistics, Outcome
from querydiff_ros.node.diagnostics import Diagnostics, EngineHealth
from querydiff_ros.node.latest_frame_worker import LatestFrameWorker
from querydiff_ros.node.segment_parameters import Parameters

WARNING_PERIOD = 10.0
"""Least seconds between two warnings of one kind about one camera."""


class FrameLabeller:
    """Announce the outputs of every camera; between `start` and `stop`, label the newest frames that there are."""

    def __init__(self, node: LifecycleNode, parameters: Parameters, segmenter: Segmenter):
        self._node = node
        self._parameters = parameters
        self._segmenter = segmenter
        self._inputs: dict[str, CameraInput] = {}
        self._started = ExitStack()
        # A logger each, because throttling is counted by logger and line.
        self._loggers = {
            c: node.get_logger().get_child(c.strip("/").replace("/", ".") or "camera") for c in self.cameras
        }
        self._statistics = {camera: CameraStatistics() for camera in self.cameras}
        self._outputs: dict[str, CameraOutput] = {}
        options = parameters.engine_options
        model = str(options.file.absolute()) if options.model else "default"
        self._health = EngineHealth(model, segmenter.engine_name, segmenter.metadata.variant, segmenter.device)
        with ExitStack() as opened:  # closed again should anything be refused
            opened.callback(segmenter.close)
            for camera in self.cameras:
                output = self._outputs[camera] = CameraOutput(node, camera, parameters, segmenter)
                opened.callback(output.close)
            period = parameters.diagnostics_period
            self._diagnostics = Diagnostics(node, self._health, self._statistics, period, self._problems)
            opened.callback(self._diagnostics.close)
            self._opened = opened.pop_all()

    @property
    def cameras(self) -> tuple[str, ...]:
        """Return the namespaces of the cameras."""
        return self._parameters.cameras

    def start(self) -> None:
        """Subscribe to the cameras and label what arrives."""
        worker = LatestFrameWorker(self.label, self._report_error, lambda: self._parameters.min_period)
        with ExitStack() as started:  # stopped again should a subscription be refused
            started.callback(self._inputs.clear)  # last of all: until it has stopped, the worker looks things up there
            worker.start()
            started.callback(worker.stop)
            for camera, output in self._outputs.items():
                output.publish_classes()
                statistics = self._statistics[camera]
                camera_input = CameraInput(self._node, camera, self._parameters, statistics, worker.offer)
                self._inputs[camera] = camera_input
                started.callback(camera_input.close)
            self._started = started.pop_all()
        self._diagnostics.active = True

    def update(self, parameters: Parameters) -> None:
        """Let those of `parameters` hold from now on that may change while the node is configured."""
        self._parameters = parameters
        active = LifecycleState("active", State.PRIMARY_STATE_ACTIVE) if self._diagnostics.active else None
        for output in self._outputs.values():
            output.update(parameters, active)

    def stop(self) -> None:
        """Unsubscribe, and wait for the inference under way."""
        self._diagnostics.active = False
        self._started.close()

    def close(self) -> None:
        """Withdraw the topics and free the engine."""
        self.stop()
        self._opened.close()

    def label(self, frames: Mapping[str, CameraFrame]) -> None:
        """Open, segment in as few inferences as sizes allow, and publish `frames`; called by the worker."""
        images = {camera: rgb for camera, frame in frames.items() if (rgb := self._open(camera, frame)) is not None}
        if not images:
            return
        results: dict[str, Segmentation] = {}
        for cameras in of_one_size(images):
            try:
                segmentations = self._segmenter.segment_cameras([images[camera] for camera in cameras])
                for camera, segmentation in zip(cameras, segmentations, strict=True):
                    self._publish(camera, frames[camera], segmentation)
                    results[camera] = segmentation
            except Exception as error:  # of a size that the engine cannot take: cameras of others get their labels
                for camera in set(cameras) - results.keys():
                    self._statistics[camera].count(Outcome.FAILED)
                self._report_error(error)
        for camera, segmentation in results.items():  # for eyes only: no label waits for them
            self._outputs[camera].publish_overlay(frames[camera], images[camera], segmentation.labels)

    def _open(self, camera: str, frame: CameraFrame) -> np.ndarray | None:
        max_age = self._parameters.max_age
        if max_age and (age := self._age(frame)) > max_age:
            self._statistics[camera].count(Outcome.STALE)
            self._loggers[camera].warning(
                f"{frame.topic} is dropped: its frames are {age:.3g} s old and max_age is {max_age:g} s; with recorded "
                "or simulated time set use_sim_time.",
                throttle_duration_sec=WARNING_PERIOD,
            )
            return None
        if frame.is_narrowed:
            self._loggers[camera].warning(
                f"{frame.topic} has 16 bits a value, of which the upper 8 are used: a camera of fewer bits looks dark.",
                once=True,
            )
        try:
            return frame.rgb()
        except BadFrame as reason:
            self._statistics[camera].reject(str(reason))
            self._inputs[camera].avoid(frame.topic)
            self._loggers[camera].warning(f"{frame.topic} {reason}.", throttle_duration_sec=WARNING_PERIOD)
            return None

    def _publish(self, camera: str, frame: CameraFrame, segmentation: Segmentation) -> None:
        self._outputs[camera].publish(frame, segmentation, self._inputs[camera].calibration)
        certain = segmentation.confidence
        confidence = math.nan if certain is None else cv2.mean(certain)[0] / 255
        self._statistics[camera].label(self._age(frame), time.monotonic() - frame.arrival, confidence)

    def _age(self, frame: CameraFrame) -> float:
        return (self._node.get_clock().now().nanoseconds - frame.stamp_ns) * 1e-9

    def _report_error(self, error: Exception) -> None:
        if not self._node.context.ok():  # interrupted: publishing fails because ROS is gone, nothing is wrong
            return
        reason = described(error)
        self._health.fail(reason)
        self._node.get_logger().error(
            f"Labelling failed ({self._health.errors} so far), the next frame is tried: {reason}",
            throttle_duration_sec=WARNING_PERIOD,
        )

    def _problems(self, camera: str) -> list[str]:
        """Return why frames of a camera cannot arrive."""
        return self._inputs[camera].problems() if camera in self._inputs else []
