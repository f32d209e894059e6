"""What the node tells /diagnostics about itself and its cameras."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType
from rclpy.lifecycle import LifecycleNode

from querydiff_ros.node.camera_statistics import CameraReport, CameraStatistics, Outcome

CONCERNS = {
    Outcome.REJECTED: "frames cannot be read",
    Outcome.STALE: "frames are older than max_age",
    Outcome.LOST: "frames are lost before they reach the node",
}
"""What is worth a warning when it happened since the last message."""


@dataclass
class EngineHealth:
    """What runs the network, and what went wrong with it; `errors` and `last_error` are written by the worker.

    `model`: path of the network's file, or "default".
    """

    model: str
    engine: str
    variant: str
    device: str
    errors: int = 0
    last_error: str = ""
    reported_errors: int = field(default=0, repr=False)

    def fail(self, reason: str) -> None:
        """Record an inference that raised."""
        self.last_error = reason
        self.errors += 1


class Diagnostics:
    """Publish one status for the engine and one for each camera, at a steady period even when simulated time stands.

    `problems`: returns why frames of a camera cannot arrive; it is called each time.
    """

    def __init__(
        self,
        node: LifecycleNode,
        health: EngineHealth,
        statistics: Mapping[str, CameraStatistics],
        period: float,
        problems: Callable[[str], Sequence[str]],
    ):
        self.active = False
        self._node = node
        self._health = health
        self._statistics = statistics
        self._problems = problems
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._timer = node.create_timer(period, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def close(self) -> None:
        """Stop publishing."""
        self._node.destroy_timer(self._timer)
        self._node.destroy_publisher(self._publisher)

    def publish(self) -> None:
        """Publish what happened since the last time."""
        statuses = [self._engine_status()]
        statuses += [self._camera_status(camera, each.report()) for camera, each in self._statistics.items()]
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _engine_status(self) -> DiagnosticStatus:
        health = self._health
        failed, health.reported_errors = health.errors > health.reported_errors, health.errors
        level, text = DiagnosticStatus.OK, "active" if self.active else "inactive"
        if failed:
            level, text = DiagnosticStatus.ERROR, f"inference failed: {health.last_error}"
        values = {
            "model": health.model,
            "engine": health.engine,
            "variant": health.variant,
            "device": health.device,
            "errors": health.errors,
            "last_error": health.last_error,
        }
        return self._status("engine", level, text, values)

    def _camera_status(self, camera: str, report: CameraReport) -> DiagnosticStatus:
        level, text = self._judge(report, self._problems(camera))
        values: dict[str, object] = {outcome.value: report.counts[outcome] for outcome in Outcome}
        values |= {
            "rate_hz": report.rate,
            "latency_from_arrival_p50_ms": report.latency_from_arrival[0],
            "latency_from_arrival_p99_ms": report.latency_from_arrival[1],
            "latency_from_stamp_p50_ms": report.latency_from_stamp[0],
            "latency_from_stamp_p99_ms": report.latency_from_stamp[1],
            "mean_confidence": report.mean_confidence,
            "last_rejection": report.last_rejection,
        }
        return self._status(camera or "camera", level, text, values)

    def _judge(self, report: CameraReport, problems: Sequence[str]) -> tuple[bytes, str]:
        if not self.active:
            return DiagnosticStatus.OK, "inactive"
        if report.new[Outcome.FAILED]:
            return DiagnosticStatus.ERROR, "inference failed"
        if concerns := [text for outcome, text in CONCERNS.items() if report.new[outcome]]:
            return DiagnosticStatus.WARN, "; ".join(concerns)
        if not report.new[Outcome.RECEIVED]:
            return DiagnosticStatus.WARN, ": ".join(["no frames arrive", *filter(None, ["; ".join(problems)])])
        return DiagnosticStatus.OK, "labelling"

    def _status(self, name: str, level: bytes, text: str, values: Mapping[str, object]) -> DiagnosticStatus:
        return DiagnosticStatus(
            level=level,
            name=f"{self._node.get_name()}: {name}",
            message=text,
            hardware_id=self._health.device,
            values=[KeyValue(key=key, value=_text(value)) for key, value in values.items()],
        )


def _text(value: object) -> str:
    """Return numbers short, and nothing for what was not measured."""
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.3f}"
    return str(value)
