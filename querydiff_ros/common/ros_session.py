"""Starting ROS, a ROS node for the length of a command, and spinning it until something holds."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from querydiff_core.errors import QueryDiffError, explained, one_line
from querydiff_ros.common.dds_profile import dds_profile_variables

if TYPE_CHECKING:
    from rclpy.executors import Executor
    from rclpy.node import Node


def require_ros() -> None:
    """Make sure that `import rclpy` works.

    Raises:
        QueryDiffError: if it does not.
    """
    missing = "ROS 2 for Python is missing ({reason}): pip install 'querydiff_ros[ros]', or source a ROS installation."
    with explained(missing, ImportError):
        import rclpy  # noqa: F401


def start_ros(arguments: Sequence[str], **options: Any) -> None:
    """Do `rclpy.init` with a command line and its `options`.

    Raises:
        QueryDiffError: if rclpy is missing or does not take `arguments`.
    """
    require_ros()
    import rclpy

    try:
        rclpy.init(args=list(arguments), **options)
    except Exception as error:  # from a wrong --ros-args to a parameter file that does not parse: no common class
        reason = one_line(error).partition(", at /")[0]  # what follows are rcl's source lines
        raise QueryDiffError(f"ROS 2 does not start: {reason}.") from error


@contextmanager
def ros_node(name: str, ros_args: Sequence[str] = ()) -> Iterator[Node]:
    """Yield a node in a ROS context of its own, which ends with the block; Ctrl-C stays Python's own.

    Whole images travel: the DDS profile for large ones applies unless the user has set another.

    Raises:
        QueryDiffError: if rclpy is missing or does not take `ros_args`, or the block uses an impossible topic.
    """
    require_ros()
    import rclpy
    from rclpy.context import Context
    from rclpy.signals import SignalHandlerOptions

    os.environ.update(dds_profile_variables())
    context = Context()
    try:
        start_ros([name, *ros_args], context=context, signal_handler_options=SignalHandlerOptions.NO)
        node = rclpy.create_node(name, context=context)
        try:
            with valid_topics():
                yield node
        finally:
            node.destroy_node()
    finally:
        context.try_shutdown()


def spin_until(executor: Executor, condition: Callable[[], bool], seconds: float) -> bool:
    """Run an executor's callbacks until `condition` holds; False if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        left = end - time.monotonic()
        if left <= 0:
            return False
        executor.spin_once(timeout_sec=min(left, 0.1))
    return True


def end_like_ctrl_c() -> None:
    """Let SIGTERM unwind the command as Ctrl-C does: no process and no shared memory is left behind."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def start_apart() -> None:
    """Begin a command with a ROS graph of its own: no robot on this network and no second run is disturbed.

    Humble knows no range of discovery: there its domain alone keeps it apart. It must come before rclpy loads the
    middleware; SIGTERM ends the command as Ctrl-C does.

    Raises:
        QueryDiffError: if rclpy is missing.
    """
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    os.environ.setdefault("ROS_DOMAIN_ID", str(1 + os.getpid() % 100))
    end_like_ctrl_c()
    require_ros()


def split_ros_args(argv: Sequence[str]) -> tuple[list[str], list[str]]:
    """Split a command line into its own arguments and those from `--ros-args` up to `--`."""
    own = list(argv)
    if "--ros-args" not in own:
        return own, []
    start = own.index("--ros-args")
    end = own.index("--", start) + 1 if "--" in own[start:] else len(own)
    return own[:start] + own[end:], own[start:end]


@contextmanager
def valid_topics() -> Iterator[None]:
    """Let the block make publishers and subscriptions.

    Raises:
        QueryDiffError: if one of them gets a name that ROS does not allow.
    """
    from rclpy.exceptions import InvalidTopicNameException

    try:
        yield
    except InvalidTopicNameException as error:
        reason, topic, *_ = str(error).removeprefix("Invalid topic name: ").splitlines()
        raise QueryDiffError(
            f"{topic.strip()} is no topic: {reason.rstrip(':')}. Give other names of camera or vehicle."
        ) from error


@contextmanager
def valued_parameters() -> Iterator[None]:
    """Let the block make a node.

    Raises:
        QueryDiffError: if one of its parameters is given as an empty list, in which ROS sees no value.
    """
    try:
        yield
    except ValueError as error:
        if "PARAMETER_NOT_SET" not in str(error):
            raise
        raise QueryDiffError(
            "A parameter is an empty list, in which ROS sees no value: leave it out, or name something in it."
        ) from error
