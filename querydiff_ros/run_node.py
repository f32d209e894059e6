"""Run one node until it is interrupted."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from querydiff_core.cli.main import exit_cleanly
from querydiff_core.errors import QueryDiffError
from querydiff_ros.valid_topics import valid_topics

if TYPE_CHECKING:
    from rclpy.node import Node


def node_command(argv: Sequence[str] | None, usage: str, make: Callable[[], Node]) -> None:
    """Do what the `main` of a node's executable does: print `usage` on --help, or `run_node`; exits as commands do."""
    arguments = list(sys.argv if argv is None else argv)

    def command() -> int:
        if {"-h", "--help"} & set(arguments):
            print(usage.strip(), flush=True)
            return 0
        return run_node(arguments, make)

    exit_cleanly(command)


def run_node(arguments: Sequence[str], make: Callable[[], Node]) -> int:
    """Start ROS with `arguments`, spin the node that `make` returns until Ctrl-C or SIGTERM, and destroy it; 0.

    Raises:
        QueryDiffError: if ROS does not start, `make` says so, or a topic's name is not valid.
    """
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # until ROS takes over, there is nothing to clean up
    from querydiff_ros.ros_session import start_ros  # noqa: PLC0415

    start_ros(arguments)
    import rclpy  # noqa: PLC0415
    from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor  # noqa: PLC0415

    node = None
    try:
        with valid_topics():
            node = make()
        executor = SingleThreadedExecutor()
        executor.add_node(node)
        executor.spin()
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
