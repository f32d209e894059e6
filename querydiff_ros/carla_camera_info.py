"""The executable `carla_camera_info`: put right the focal length that CARLA's native ROS 2 interface gets wrong.

usage: carla_camera_info --ros-args -p carla_version:=0.9.15|0.9.16 [-p fov:=90.0] [-p camera:=front]

Reads /carla/<vehicle>/rgb_front/camera_info and writes it to front/camera_info with the focal length that the
camera's field of view gives. What is right already passes unchanged.
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
    from querydiff_ros.carla_camera_info_node import CarlaCameraInfoNode  # noqa: PLC0415 - after ROS has started

    return CarlaCameraInfoNode()


if __name__ == "__main__":
    main()
