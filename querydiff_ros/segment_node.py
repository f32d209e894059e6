"""The executable `segment_node`: run the managed node until it is interrupted.

usage: segment_node [--ros-args -p PARAMETER:=VALUE ... -r TOPIC:=TOPIC ... --params-file FILE]

Labels camera images. It waits to be configured and activated; `-p bring_up:=true` makes it do so itself. Reads
front/image or front/image/compressed, writes front/label and more; `-p cameras:="[left, right]"` names other cameras.

example: segment_node --ros-args -p bring_up:=true -r front/image:=/camera/image_raw
All parameters: docs/nodes.md, or `ros2 param describe /segment_node PARAMETER`.
"""

# Imports wait until Ctrl-C has been told to be quiet: most of the start-up is spent in them.
from __future__ import annotations

import signal
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> None:
    """Run the node with these arguments (default: the command line's) and exit: 0 when interrupted, 1 on wrong ones."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until ROS takes both signals over, there is nothing to clean up
    arguments = list(sys.argv if argv is None else argv)
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return
    from querydiff_core.cli.main import exit_cleanly  # noqa: PLC0415

    exit_cleanly(lambda: _run(arguments))


def _run(arguments: list[str]) -> int:
    import rclpy  # noqa: PLC0415
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: PLC0415

    from querydiff_ros.segment_lifecycle_node import SegmentLifecycleNode  # noqa: PLC0415

    _start_ros(arguments)
    node = None
    try:
        node = SegmentLifecycleNode()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        node.bring_up_if_asked()
        executor.spin()
    except ExternalShutdownException:
        pass
    except Exception:
        if rclpy.ok():  # else: interrupted, and whatever was under way found ROS gone
            raise
    finally:
        if node is not None:
            node.destroy_node()
        rclpy.try_shutdown()
    return 0


def _start_ros(arguments: list[str]) -> None:
    import rclpy  # noqa: PLC0415

    from querydiff_core.errors import QueryDiffError  # noqa: PLC0415

    try:
        rclpy.init(args=arguments)
    except Exception as error:  # from a wrong --ros-args to a parameter file that does not parse
        raise QueryDiffError(f"ROS refuses to start: {' '.join(str(error).split())}.") from error


if __name__ == "__main__":
    main()
