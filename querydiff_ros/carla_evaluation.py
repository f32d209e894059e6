"""The executable `carla_evaluation`: score labels against CARLA's ground truth until it is interrupted.

usage: carla_evaluation --ros-args -p carla_version:=0.9.13|0.9.15|0.9.16 [-p output:=RESULT.json] [-p ...]

Pairs front/label and front/confidence of segment_node with the semantic camera by equal stamp; publishes running mIoU
and IoU by class and weather on /carla_evaluation/scores and /diagnostics, and writes a Result file.

example: carla_evaluation --ros-args -p carla_version:=0.9.16 -p output:=carla.json
All parameters: docs/carla.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from querydiff_ros.run_node import node_command

if TYPE_CHECKING:
    from rclpy.node import Node


def main(argv: Sequence[str] | None = None) -> None:
    """Run the node with these arguments (default: the command line's) and exit: 0 when interrupted, 1 on wrong ones."""
    node_command(argv, __doc__ or "", _node)


def _node() -> Node:
    from querydiff_ros.carla_evaluation_node import CarlaEvaluationNode  # noqa: PLC0415 - after ROS has started

    return CarlaEvaluationNode()


if __name__ == "__main__":
    main()
