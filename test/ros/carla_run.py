"""A run of everything: stand-in bridge, the real node, the real evaluation, each with its own end of DDS."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from peer import Peer
from rclpy.parameter import Parameter

from querydiff_core.label_space import LabelMapping
from querydiff_core.street_scenes import CameraInfo, DriveFrame
from querydiff_ros.carla.evaluation_node import CarlaEvaluationNode
from querydiff_ros.carla.interface import RGB, CarlaInterface
from querydiff_ros.carla.stand_in_bridge import FIRST_STAMP_NS, CarlaStandIn, StandInOptions
from querydiff_ros.common.ros_session import ros_node
from querydiff_ros.node.segment_node import SegmentNode

SIZE = (24, 40)
STEP = 100_000_000


def frame(index: int = 0, labels: np.ndarray | None = None, condition: str = "clear") -> DriveFrame:
    """Return a small frame with all classes and unlabelled pixels in it, different for every index."""
    if labels is None:
        rng = np.random.default_rng(index)
        labels = rng.integers(0, 20, (SIZE[0] // 4, SIZE[1] // 4)).astype(np.uint8).repeat(4, 0).repeat(4, 1)
        labels[labels == 19] = 255
    height, width = labels.shape
    image = np.random.default_rng(index + 100).integers(0, 256, (height, width, 3), np.uint8)
    intrinsics = np.array([[width / 2, 0, width / 2], [0, width / 2, height / 2], [0, 0, 1]])  # 90 degrees
    return DriveFrame(image, labels, condition, index * STEP, CameraInfo(height, width, intrinsics))


def segment_node(interface: CarlaInterface, engine: Path) -> SegmentNode:
    """Return an active segment node on the RGB camera of `interface`."""
    remap = ["--ros-args", "-r", f"front/image:={interface.topic(RGB)}"]
    params = {"engine": str(engine), "threads": 1, "diagnostics_period": 0.1, "bring_up": True}
    overrides = [Parameter(name, value=value) for name, value in params.items()]
    node = SegmentNode(parameter_overrides=overrides, cli_args=remap)
    node.bring_up_if_asked()
    return node


def evaluation_node(version: str, **told: Any) -> CarlaEvaluationNode:
    chosen = {"carla_version": version, "publish_period": 0.1, **told}
    return CarlaEvaluationNode(parameter_overrides=[Parameter(name, value=value) for name, value in chosen.items()])


class StandInThread:
    """The stand-in bridge at work in a ROS context and a thread of its own."""

    def __init__(self, interface: CarlaInterface, frames: Iterable[DriveFrame], **options: Any) -> None:
        self.error: Exception | None = None
        self._arguments = interface, list(frames), StandInOptions(**options)
        self._thread = threading.Thread(target=self._play)
        self._thread.start()

    def ended(self) -> bool:
        return not self._thread.is_alive()

    def _play(self) -> None:
        interface, frames, options = self._arguments
        try:
            with ros_node("carla_stand_in") as node:
                for _ in CarlaStandIn(node, interface, options).play(frames):
                    pass
        except Exception as error:
            self.error = error


def play(peer: Peer, interface: CarlaInterface, frames: Iterable[DriveFrame], **options: Any) -> None:
    """Play `frames` in lockstep, coded for the pixel engine, while the peer spins the nodes; raise what goes wrong."""
    run = StandInThread(interface, frames, coded=True, lockstep=True, rate=0.0, **options)
    peer.wait_for(run.ended, "the end of the drive")
    if run.error:
        raise run.error


def frame_index(name: str) -> int:
    """Return the index of the frame that an evaluation calls `name`."""
    seconds, nanoseconds = name.split(".")
    return (int(seconds) * 10**9 + int(nanoseconds) - FIRST_STAMP_NS) // STEP


def iou_by_hand(predicted: list[np.ndarray], ground_truth: list[np.ndarray], mapping: LabelMapping) -> dict[str, float]:
    """Return the IoU by class name of trainIds, by sets of pixels; classes that the ground truth lacks are left out."""
    seen, true = np.concatenate([p.ravel() for p in predicted]), np.concatenate([t.ravel() for t in ground_truth])
    seen, true = seen[true != 255], true[true != 255]
    result = {}
    for name, merged in mapping.score_classes:
        ours, theirs = np.isin(seen, merged), np.isin(true, merged)
        if theirs.any():
            result[name] = (ours & theirs).sum() / (ours | theirs).sum()
    return result
