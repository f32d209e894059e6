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
    from querydiff_ros.ros_session import start_ros  # noqa: PLC0415

    start_ros(arguments)
    import rclpy  # noqa: PLC0415
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: PLC0415

    node = None
    try:
        from querydiff_ros.segment_lifecycle_node import SegmentLifecycleNode  # noqa: PLC0415

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


if __name__ == "__main__":
    main()
