"""The node that scores predictions against CARLA's ground truth."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from std_msgs.msg import Float32, String

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.condition_scores import ConditionScores
from querydiff_core.evaluation.provenance import file_facts
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.utils.atomic_file import check_writable
from querydiff_ros.carla.interface import SEMANTIC, carla_interface
from querydiff_ros.carla.result import carla_result, watch_model
from querydiff_ros.carla.semantics import SemanticDecoder
from querydiff_ros.carla.weather import CarlaWeather
from querydiff_ros.common.image_conversions import BadFrame, mono8_images
from querydiff_ros.common.node_parameters import declare_parameters, parameter
from querydiff_ros.common.stamps import EqualStamps, header_stamp_ns
from querydiff_ros.common.topics import LATCHED, topic_name

QUEUE = 10
SILENT_PERIODS = 3
"""Reports without an image of a topic after which it counts as silent."""
SAVING_SHARE = 0.01
"""Most of the time that writing the Result may take, which grows with the frames: nothing is scored meanwhile."""
COMPLAINT_PERIOD = 10.0
"""Least seconds between two log lines about frames that cannot be scored."""


@dataclass(frozen=True)
class CarlaEvaluationParameters:
    """Parameters of `carla_evaluation`."""

    carla_version: str = parameter("", "Which CARLA runs: 0.9.13 (carla-ros-bridge), 0.9.15 or 0.9.16 (native).")
    camera: str = parameter("front", "Namespace of the camera: front/label and front/confidence are scored.")
    vehicle: str = parameter("", "Name of the ego vehicle in CARLA's topics. Empty: the interface's usual one.")
    semantic_topic: str = parameter("", "Topic of the ground truth. Empty: semantic_segmentation_front of the vehicle.")
    semantic_reliability: str = parameter(
        "reliable", "QoS reliability of the ground truth's topic.", one_of=("reliable", "best_effort")
    )
    use_confidence: bool = parameter(True, "Whether confidence is read, for calibration.")
    condition: str = parameter("carla", "Name of the weather until a message tells another.")
    output: str = parameter("", "Result file, written every save_period and at the end. Empty: none.")
    engine: str = parameter("", "Model file for the Result until the segment node tells its own. Empty: the default.")
    publish_period: float = parameter(
        1.0, "Seconds between two messages of scores and diagnostics.", between=(0.01, math.inf)
    )
    save_period: float = parameter(
        60.0,
        "Seconds between two writings of the Result file, more once that takes a hundredth of them.",
        between=(0.0, math.inf),
    )
    waiting: int = parameter(
        30, "Further stamps that a frame waits for its counterpart before it is given up.", between=(1, math.inf)
    )


class CarlaEvaluationNode(Node):
    """Pair labels with semantic images by equal stamp, and publish running scores.

    Raises:
        QueryDiffError: if a parameter is wrong or the Result file cannot be written.
    """

    def __init__(self, **node_options: Any) -> None:
        super().__init__("carla_evaluation", automatically_declare_parameters_from_overrides=True, **node_options)
        self.parameters = params = declare_parameters(self, CarlaEvaluationParameters)
        self.interface = carla_interface(params.carla_version)
        self.scores = ConditionScores(self.interface.mapping)
        self._decode = SemanticDecoder(self.interface)
        topics = [topic_name(params.camera, name) for name in ("label", "confidence")[: 1 + params.use_confidence]]
        self._predictions = topics
        self.ground_truth_topic = params.semantic_topic or self.interface.topic(SEMANTIC, params.vehicle)
        self._moments = EqualStamps[tuple[Image, str]]([*topics, self.ground_truth_topic], params.waiting)
        self._arrived: dict[str, float] = {}  # monotonic time of the newest image by topic
        self._unmatched_before = 0
        self._rejected, self._rejected_before, self._last_rejection = 0, 0, ""
        self._output = os.path.expanduser(params.output)
        self._next_save, self._unsaved = time.monotonic() + params.save_period, False
        self.model = file_facts(EngineOptions(params.engine))
        watch_model(self, params.camera, self.model)
        if self._output:
            check_writable(self._output)
        self._weather = CarlaWeather(self, params.condition)
        for topic in topics:
            self._subscribe(topic, "reliable")
        self._subscribe(self.ground_truth_topic, params.semantic_reliability)
        self._publish_to()
        steady = Clock(clock_type=ClockType.STEADY_TIME)  # simulated time may stand
        self.create_timer(params.publish_period, self._report, clock=steady)

    def destroy_node(self) -> None:
        """Write the Result and withdraw."""
        self._save()
        super().destroy_node()

    def _publish_to(self) -> None:
        self._scores_publisher = self.create_publisher(String, "~/scores", LATCHED)
        self._miou_publisher = self.create_publisher(Float32, "~/miou", LATCHED)
        self._diagnostics_publisher = self.create_publisher(DiagnosticArray, "/diagnostics", 10)

    def _subscribe(self, topic: str, reliability: str) -> None:
        quality = QoSProfile(depth=QUEUE, reliability=ReliabilityPolicy[reliability.upper()])
        self.create_subscription(Image, topic, lambda message: self._on_image(topic, message), quality)

    def _on_image(self, topic: str, message: Image) -> None:
        self._arrived[topic] = time.monotonic()
        stamp_ns = header_stamp_ns(message.header)
        # The weather is that of the moment when the ground truth arrives: labels come later.
        moment = self._moments.add(topic, stamp_ns, (message, self._weather.condition))
        if moment is None:
            return
        try:
            self._score(stamp_ns, moment)
        except QueryDiffError as error:
            self._reject(str(error))

    def _score(self, stamp_ns: int, moment: dict[str, tuple[Image, str]]) -> None:
        try:
            prediction, *rest = mono8_images({topic: moment[topic][0] for topic in self._predictions})
        except BadFrame as reason:
            raise QueryDiffError(f"{reason}.") from reason
        message, condition = moment[self.ground_truth_topic]
        ground_truth = self._decode(message, self.ground_truth_topic)
        if ground_truth.shape != prediction.shape:
            raise QueryDiffError(
                f"{self._predictions[0]} has {_size(prediction)} pixels and {self.ground_truth_topic} "
                f"{_size(ground_truth)}: give the RGB and the semantic camera one size in CARLA."
            )
        if not self.scores.frames:
            self.get_logger().info(f"Scoring began: {self._predictions[0]} against {self.ground_truth_topic}.")
        stamp = f"{stamp_ns // 10**9}.{stamp_ns % 10**9:09d}"
        self.scores.update(condition, prediction, rest[0] if rest else None, ground_truth, stamp)
        self._unsaved = True

    def _reject(self, reason: str) -> None:
        self._rejected, self._last_rejection = self._rejected + 1, reason
        self.get_logger().error(reason, throttle_duration_sec=COMPLAINT_PERIOD)

    def _report(self) -> None:
        summary = self.scores.summary() | {
            "condition": self._weather.condition,
            "unmatched": dict(self._moments.unmatched),
            "rejected": self._rejected,
            "last_rejection": self._last_rejection,
        }
        self._scores_publisher.publish(String(data=json.dumps(summary)))
        if summary["miou"] is not None:
            self._miou_publisher.publish(Float32(data=summary["miou"]))
        self._diagnostics_publisher.publish(self._diagnostics(summary))
        if time.monotonic() >= self._next_save:
            self._save()

    def _diagnostics(self, summary: dict[str, Any]) -> DiagnosticArray:
        level, text = self._judge()
        iou = {f"iou {name}": value for name, value in summary["iou_by_class"].items()}
        unmatched = {f"unmatched {topic}": count for topic, count in summary["unmatched"].items()}
        plain = ("frames", "miou", "pixel_accuracy", "condition", "rejected", "last_rejection")
        values = {name: summary[name] for name in plain} | unmatched | iou
        status = DiagnosticStatus(
            level=level,
            name=f"{self.get_name()}: {self.parameters.camera or 'camera'}",
            message=text,
            hardware_id=self.interface.name,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        return message

    def _judge(self) -> tuple[bytes, str]:
        new, self._rejected_before = self._rejected > self._rejected_before, self._rejected
        if new:
            return DiagnosticStatus.ERROR, self._last_rejection
        if problem := self._moments.problem():
            self.get_logger().error(problem, throttle_duration_sec=COMPLAINT_PERIOD)
            return DiagnosticStatus.ERROR, problem
        unmatched, self._unmatched_before = self._unmatched_before, self._moments.unmatched.total()
        if topic := self._silent_topic():
            missing = f"no images arrive on {topic}; topics of images: {self._image_topics()}"
            if self._unmatched_before > unmatched:  # others wait for it in vain
                self.get_logger().warning(f"Nothing is scored: {missing}.", throttle_duration_sec=COMPLAINT_PERIOD)
            return DiagnosticStatus.WARN, missing
        return DiagnosticStatus.OK, "scoring"

    def _silent_topic(self) -> str | None:
        """Return the first topic that has brought nothing yet, or nothing more for some reports."""
        heard_since = time.monotonic() - SILENT_PERIODS * self.parameters.publish_period
        for topic in (self.ground_truth_topic, *self._predictions):
            if self._arrived.get(topic, -math.inf) < heard_since:
                return topic
        return None

    def _image_topics(self) -> str:
        kinds = self.get_topic_names_and_types()
        names = [name for name, types in kinds if "sensor_msgs/msg/Image" in types and self.count_publishers(name)]
        return ", ".join(names) or "none"

    def _save(self) -> None:
        started = time.monotonic()
        if self._output and self._unsaved:
            self._unsaved = False
            try:
                self._result().save(self._output)
            except QueryDiffError as error:  # what was measured stays in memory, and is tried again
                self._unsaved = True
                self.get_logger().error(str(error))
        took = time.monotonic() - started
        self._next_save = started + max(self.parameters.save_period, took / SAVING_SHARE)

    def _result(self) -> Result:
        settings = {key: value for key, value in asdict(self.parameters).items() if key not in ("output", "engine")}
        return carla_result(self.model, self.interface, self.ground_truth_topic, settings, self.scores)


def _size(image: np.ndarray) -> str:
    return f"{image.shape[1]} x {image.shape[0]}"


def _text(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
