"""Names that cannot be topics, said in one sentence."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from querydiff_core.errors import QueryDiffError


@contextmanager
def valid_topics() -> Iterator[None]:
    """Let the block make publishers and subscriptions.

    Raises:
        QueryDiffError: if one of them gets a name that ROS does not allow.
    """
    from rclpy.exceptions import InvalidTopicNameException  # noqa: PLC0415 - after ROS was found

    try:
        yield
    except InvalidTopicNameException as error:
        reason, topic, *_ = str(error).removeprefix("Invalid topic name: ").splitlines()
        raise QueryDiffError(
            f"{topic.strip()} is no topic: {reason.rstrip(':')}. Give other names of camera or vehicle."
        ) from error
