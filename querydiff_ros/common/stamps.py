"""The stamps of messages: read them, and bring together the messages of one moment."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from std_msgs.msg import Header

Message = TypeVar("Message")


def stamp_ns(message: bytes) -> int:
    """Read the stamp, nanoseconds since the epoch, of a CDR message that begins with a std_msgs/Header."""
    little_endian = message[1] & 1
    seconds, nanoseconds = struct.unpack_from("<iI" if little_endian else ">iI", message, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def header_stamp_ns(header: Header) -> int:
    """Return the stamp of `header` in nanoseconds."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


class EqualStamps(Generic[Message]):
    """Collect one message of each topic by stamp, and hand those of one stamp over together.

    Stamps may come in any order, and start again when a simulation does. What waits longer than `capacity` further
    stamps is given up.

    Attributes:
        matched: complete sets so far.
        unmatched: messages given up, by topic.
        newest: the stamp that came last, ns, by topic.
    """

    def __init__(self, topics: Sequence[str], capacity: int) -> None:
        self._topics, self._capacity = tuple(topics), capacity
        self._waiting: dict[int, dict[str, Message]] = {}
        self.matched = 0
        self.unmatched: Counter[str] = Counter()
        self.newest: dict[str, int] = {}

    def add(self, topic: str, stamp_ns: int, message: Message) -> dict[str, Message] | None:
        """Add a message; return all of its stamp, by topic, once every topic has brought one."""
        self.newest[topic] = stamp_ns
        found = self._waiting.setdefault(stamp_ns, {})
        found[topic] = message
        if len(found) == len(self._topics):
            self.matched += 1
            return self._waiting.pop(stamp_ns)
        if len(self._waiting) > self._capacity:
            oldest = next(iter(self._waiting))
            self.unmatched.update(list(self._waiting.pop(oldest)))  # a dictionary would count as numbers
        return None

    def problem(self) -> str | None:
        """Return one sentence if all topics bring messages but never two of one stamp, once some are given up."""
        if self.matched or not self.unmatched or len(self.newest) < len(self._topics):
            return None
        newest = ", ".join(f"{topic} at {self.newest[topic] / 1e9:.3f} s" for topic in self._topics)
        return (
            f"No stamps are equal ({newest}): the cameras must belong to one simulation, with the same sensor_tick "
            "and the labels from its images."
        )
