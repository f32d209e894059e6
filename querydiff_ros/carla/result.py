"""The Result of a run in CARLA."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from querydiff_core.evaluation.condition_scores import ConditionScores
from querydiff_core.evaluation.provenance import file_facts, versions
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.engine import EngineOptions
from querydiff_ros.carla.interface import CarlaInterface


def watch_model(node: Node, camera: str, model: MutableMapping[str, Any]) -> None:
    """Keep in `model` the facts of the file that labels `camera`, and what /diagnostics tells of its engine."""

    def note(message: DiagnosticArray) -> None:
        cameras = {status.name.partition(": ")[2] for status in message.status}
        for status in message.status if (camera or "camera") in cameras else ():  # else: of another segment_node
            values = {each.key: each.value for each in status.values}
            if status.name.endswith(": engine") and {"model", "engine", "variant", "device"} <= values.keys():
                if values["model"] != model["path"]:
                    model.update(file_facts(EngineOptions(None if values["model"] == "default" else values["model"])))
                model.update({key: values[key] for key in ("engine", "variant", "device")})

    node.create_subscription(DiagnosticArray, "/diagnostics", note, 10)


def carla_result(
    model: Mapping[str, Any],
    interface: CarlaInterface,
    topic: str,
    settings: Mapping[str, Any],
    scores: ConditionScores,
) -> Result:
    """Return what was measured so far.

    Args:
        model: what names the model.
        interface: of the CARLA that runs.
        topic: of the ground truth.
        settings: parameters of the evaluation by name, without what does not change a score.
        scores: by weather.
    """
    source = {
        "data_set": "carla",
        "carla_version": interface.version,
        "interface": interface.name,
        "topic": topic,
        "images": scores.frames,
    }
    return Result(dict(model), [source], dict(settings), versions(model.get("engine", "")), scores.domains)
