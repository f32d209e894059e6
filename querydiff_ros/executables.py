"""Every executable of this package, each with what it imports late, and the one loop that runs a node.

Each function is a console script: it runs with these arguments (default: the command line's) and exits with 0 on
success and when it is interrupted, which launch files would take for a crash otherwise, and with 1 on wrong arguments.
"""

from __future__ import annotations

import inspect
import signal
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pkgutil import resolve_name
from typing import Any

from querydiff_core.cli.main import exit_cleanly
from querydiff_core.errors import QueryDiffError

WAKE_PERIOD = 1.0
"""Seconds that a node sleeps at most: one that has no timer would sleep through a signal that came right before."""


def segment_node(argv: Sequence[str] | None = None) -> None:
    """Run the managed node until it is interrupted.

    usage: segment_node [--ros-args -p PARAMETER:=VALUE ... -r TOPIC:=TOPIC ... --params-file FILE]

    Labels camera images. It waits to be configured and activated; `-p bring_up:=true` makes it do so itself. Reads
    front/image or front/image/compressed, writes front/label and more; `-p cameras:="[left, right]"` names other
    cameras.

    example: segment_node --ros-args -p bring_up:=true -r front/image:=/camera/image_raw
    All parameters: docs/nodes.md, or `ros2 param describe /segment_node PARAMETER`.
    """
    _run_node_command(
        argv, segment_node.__doc__, "node.segment_node:SegmentNode", lambda node: node.bring_up_if_asked()
    )


def carla_evaluation(argv: Sequence[str] | None = None) -> None:
    """Score labels against CARLA's ground truth until it is interrupted.

    usage: carla_evaluation --ros-args -p carla_version:=0.9.13|0.9.15|0.9.16 [-p output:=RESULT.json] [-p ...]

    Pairs front/label and front/confidence of segment_node with the semantic camera by equal stamp; publishes running
    mIoU and IoU by class and weather on /carla_evaluation/scores and /diagnostics, and writes a Result file.

    example: carla_evaluation --ros-args -p carla_version:=0.9.16 -p output:=carla.json
    All parameters: docs/carla.md.
    """
    _run_node_command(argv, carla_evaluation.__doc__, "carla.evaluation_node:CarlaEvaluationNode")


def carla_camera_info(argv: Sequence[str] | None = None) -> None:
    """Put right the focal length that CARLA's native ROS 2 interface gets wrong.

    usage: carla_camera_info --ros-args -p carla_version:=0.9.15|0.9.16 [-p fov:=90.0] [-p camera:=front]

    Reads /carla/<vehicle>/rgb_front/camera_info and writes it to front/camera_info with the focal length that the
    camera's field of view gives. What is right already passes unchanged.
    """
    _run_node_command(argv, carla_camera_info.__doc__, "carla.camera_info_node:CarlaCameraInfoNode")


def drivable_area(argv: Sequence[str] | None = None) -> None:
    """An example of what a planner does with labels and their confidence.

    usage: drivable_area [--ros-args -p camera:=front -p classes:="[road]" -p min_confidence:=0.5]

    Reads front/label and front/confidence of segment_node; writes front/drivable_area, where the vehicle may drive, and
    front/class_fractions, how much of the image each class covers. Parameters and topics: docs/downstream.md.
    """
    _run_node_command(argv, drivable_area.__doc__, "examples.drivable_area_node:DrivableAreaNode")


def labelled_points(argv: Sequence[str] | None = None) -> None:
    """An example of what a planner does with labels and depth: a point cloud with classes.

    usage: labelled_points [--ros-args -p camera:=front -p depth_topic:=TOPIC | -p points_topic:=TOPIC -p ...]

    Reads front/label, front/confidence and front/label/camera_info of segment_node, and a depth image or a lidar's
    points; writes front/labelled_points: x, y, z, class and confidence. Parameters and topics: docs/downstream.md.
    """
    _run_node_command(argv, labelled_points.__doc__, "examples.labelled_points_node:LabelledPointsNode")


def carla_stand_in(argv: Sequence[str] | None = None) -> None:
    """Publish a generated drive as CARLA's bridges would."""
    _run_command(argv, "carla_stand_in")


def evaluate_bag(argv: Sequence[str] | None = None) -> None:
    """Do `querydiff evaluate-bag` under `ros2 run`."""
    _run_command(argv, "evaluate_bag")


def record_drive(argv: Sequence[str] | None = None) -> None:
    """Do `querydiff record-drive` under `ros2 run`."""
    _run_command(argv, "record_drive")


def replay_drive(argv: Sequence[str] | None = None) -> None:
    """Do `querydiff replay` under `ros2 run` and launch files."""
    _run_command(argv, "replay")


def _run_command(argv: Sequence[str] | None, module: str) -> None:
    command = import_module(f"querydiff_ros.cli.{module}")

    def run() -> int:
        try:
            return int(command.main(sys.argv[1:] if argv is None else argv))
        except KeyboardInterrupt:
            print("interrupted", file=sys.stderr)
            return 0

    exit_cleanly(run)


def _run_node_command(
    argv: Sequence[str] | None, usage: str | None, node: str, begin: Callable[[Any], None] = lambda node: None
) -> None:
    """Print `usage` on --help, or run `node`, see `_run_node`; exit as commands do."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until ROS takes both signals over, there is nothing to clean up
    arguments = list(sys.argv if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        print(inspect.cleandoc(usage or ""), flush=True)
        return
    exit_cleanly(lambda: _run_node(arguments, node, begin))


def _run_node(arguments: Sequence[str], name: str, begin: Callable[[Any], None]) -> int:
    """Start ROS with `arguments`, spin a node until Ctrl-C or SIGTERM, and destroy it; 0.

    `name`: `module:Class` in this package, imported once ROS has started. `begin` is called with the node once it
    belongs to an executor.

    Raises:
        QueryDiffError: if ROS does not start, an argument is not one of ROS, the node says so, a topic's name is not
            valid, or a parameter is an empty list.
    """
    from querydiff_ros.common.parameter_files import warn_of_files_for_others
    from querydiff_ros.common.ros_session import start_ros, valid_topics, valued_parameters

    start_ros(arguments)
    import rclpy
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
    from rclpy.utilities import remove_ros_args

    node = None
    try:
        if unknown := remove_ros_args(arguments)[1:]:  # the first is the program
            raise QueryDiffError(f"Unknown argument {unknown[0]}: parameters follow --ros-args.")
        with valid_topics(), valued_parameters():
            node = resolve_name(f"{__package__}.{name}")()
        warn_of_files_for_others(node, arguments)
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        begin(node)
        while rclpy.ok():
            executor.spin_once(timeout_sec=WAKE_PERIOD)
    except ExternalShutdownException:
        pass
    except Exception as error:
        if rclpy.ok() or isinstance(error, QueryDiffError):  # else: interrupted, and what was under way found ROS gone
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
