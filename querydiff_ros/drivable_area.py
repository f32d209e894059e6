"""The executable `drivable_area`: an example of what a planner does with labels and their confidence.

usage: drivable_area [--ros-args -p camera:=front -p classes:="[road]" -p min_confidence:=0.5]

Reads front/label and front/confidence of segment_node; writes front/drivable_area, where the vehicle may drive, and
front/class_fractions, how much of the image each class covers. Parameters and topics: docs/downstream.md.
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
    from querydiff_ros.drivable_area_node import DrivableAreaNode  # noqa: PLC0415 - after ROS has started

    return DrivableAreaNode()


if __name__ == "__main__":
    main()
