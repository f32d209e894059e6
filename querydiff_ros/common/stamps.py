"""The stamps of messages: read them, and bring together the messages of one moment."""

from __future__ import annotations

import struct
from collections import Counter, deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

if TYPE_CHECKING:
    from std_msgs.msg import Header

Message = TypeVar("Message")
_STAMP_END = 12
"""Bytes of a CDR message up to the end of its header's stamp."""
RESTART_NS = 3 * 10**8
"""A stamp that lies so far behind one before it begins a new run: cameras and middleware keep their order."""
TRANSPORT_LAG = 1.0
"""Seconds that one transport may lag behind the other before its frames pass for new ones."""


def has_stamp(message: bytes) -> bool:
    """Return whether a CDR message is long enough to begin with a std_msgs/Header."""
    return len(message) >= _STAMP_END


def stamp_ns(message: bytes) -> int:
    """Read the stamp, nanoseconds since the epoch, of a CDR message that begins with a std_msgs/Header."""
    little_endian = message[1] & 1
    seconds, nanoseconds = struct.unpack_from("<iI" if little_endian else ">iI", message, 4)
    return int(seconds) * 10**9 + int(nanoseconds)


def with_stamp(message: bytes, stamp_ns: int) -> bytes:
    """Return a CDR message that begins with a std_msgs/Header, under another stamp."""
    stamp = struct.pack("<iI" if message[1] & 1 else ">iI", *divmod(stamp_ns, 10**9))
    return message[:4] + stamp + message[_STAMP_END:]


def header_stamp_ns(header: Header) -> int:
    """Return the stamp of `header` in nanoseconds."""
    return int(header.stamp.sec) * 10**9 + int(header.stamp.nanosec)


class Moments:
    """Give each message of a recording a moment of its own: its stamp, or where that means nothing its recording time.

    A stamp means nothing if it was never set (0), or is that of the topic's message before.
    """

    def __init__(self) -> None:
        self._before: dict[str, int] = {}

    def of(self, topic: str, stamp_ns: int, time_ns: int) -> int:
        """Return the moment, nanoseconds, of the next message of a topic, recorded at `time_ns`."""
        repeats, self._before[topic] = self._before.get(topic) == stamp_ns, stamp_ns
        return time_ns if repeats or not stamp_ns else stamp_ns


class OwnMoments:
    """Give each frame of one camera in a recording a moment that no other frame has: it is known by that."""

    def __init__(self) -> None:
        self._moments, self._taken = Moments(), set[int]()

    def of(self, stamp_ns: int, time_ns: int) -> int:
        """Return the moment, nanoseconds, of the next frame, recorded at `time_ns`: its stamp, where that may be."""
        moment = self._moments.of("", stamp_ns, time_ns)
        moment = time_ns if moment in self._taken else moment
        while moment in self._taken:
            moment += 1
        self._taken.add(moment)
        return moment


class Runs:
    """Notice where stamps begin again: a simulator was restarted, or a recording plays once more.

    Within a run the stamps of one topic only grow, give or take `RESTART_NS`.
    """

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self._run: Counter[str] = Counter()

    def follow(self, topic: str, stamp_ns: int) -> set[str]:
        """Take the next stamp of a topic; return the topics whose earlier messages belong to a run that has ended.

        Of the topics that share a run the first to begin again ends it for all, and the others follow for themselves.
        """
        newest = self.newest.get(topic, stamp_ns)
        if stamp_ns > newest - RESTART_NS:
            self.newest[topic] = max(newest, stamp_ns)
            return set()
        self.newest[topic] = stamp_ns
        latest = max(self._run.values(), default=0)
        is_first = self._run[topic] >= latest
        self._run[topic] = latest + is_first
        return {topic, *self.newest} if is_first else {topic}


class _Arrival(NamedTuple):
    topic: str
    stamp_ns: int
    time: float


class TransportTwins:
    """Recognise the frames of one camera that come again by its other transport; each explains one other at most.

    Frames are told apart by when they come, for stamps may never be set, or begin again.
    """

    def __init__(self) -> None:
        self._recent: deque[_Arrival] = deque()

    def add(self, topic: str, stamp_ns: int, time: float) -> None:
        """Remember a frame that came at `time`, seconds of a monotonic clock."""
        self._recent.append(_Arrival(topic, stamp_ns, time))

    def has_come(self, topic: str, stamp_ns: int, time: float) -> bool:
        """Tell whether the frame that comes now is one that came by the other transport."""
        while self._recent and time - self._recent[0].time > TRANSPORT_LAG:
            self._recent.popleft()
        for other in self._recent:
            if other.stamp_ns == stamp_ns and other.topic != topic:
                self._recent.remove(other)
                return True
        return False

    def is_late(self, topic: str, stamp_ns: int) -> bool:
        """Tell, of a frame that `has_come` has not found, whether a newer one has come by the other transport."""
        ahead = (other.stamp_ns - stamp_ns for other in self._recent if other.topic != topic)
        return stamp_ns != 0 and any(0 < each < RESTART_NS for each in ahead)


class NearestStamp(Generic[Message]):
    """Keep the messages of one topic for a while, and find the one that is nearest in time to a stamp.

    Attributes:
        newest: the stamp that came last, ns; None before the first.
    """

    def __init__(self, keep_ns: int) -> None:
        """Keep the last of each stamp at most `keep_ns` older than the newest; nothing from before a restart."""
        self._keep = keep_ns
        self._messages: dict[int, Message] = {}
        self._runs = Runs()
        self.newest: int | None = None

    def add(self, stamp_ns: int, message: Message) -> None:
        """Add the next message."""
        if self._runs.follow("", stamp_ns):
            self._messages.clear()
        self.newest = stamp_ns
        self._messages[stamp_ns] = message
        for old in [each for each in self._messages if each < stamp_ns - self._keep]:
            del self._messages[old]

    def nearest(self, stamp_ns: int) -> tuple[int, Message] | None:
        """Return the message nearest to `stamp_ns` and its own stamp, None if nothing is kept."""
        return min(self._messages.items(), key=lambda each: abs(each[0] - stamp_ns), default=None)


class EqualStamps(Generic[Message]):
    """Collect one message of each topic by stamp, and hand those of one stamp over together.

    Stamps may come in any order, and begin again when a simulation does: then nothing pairs across. A message that
    waits while `capacity` further stamps come, or until its own stamp comes again, is given up.

    Attributes:
        matched: complete sets so far.
        unmatched: messages given up, by topic.
        newest: the stamp that came last, ns, by topic.
    """

    def __init__(self, topics: Sequence[str], capacity: int) -> None:
        self._topics, self._capacity = tuple(topics), capacity
        self._waiting: dict[int, dict[str, Message]] = {}
        self._begun: dict[int, int] = {}  # how many stamps had come when each of those that wait did
        self._stamps = 0
        self._runs = Runs()
        self.matched = 0
        self.unmatched: Counter[str] = Counter()
        self.newest: dict[str, int] = {}

    def add(self, topic: str, stamp_ns: int, message: Message) -> dict[str, Message] | None:
        """Add a message; return all of its stamp, by topic, once every topic has brought one."""
        self.newest[topic] = stamp_ns
        if ended := self._runs.follow(topic, stamp_ns):
            for stamp in list(self._waiting):
                self._give_up(stamp, ended)
        if topic in self._waiting.get(stamp_ns, {}):
            self._give_up(stamp_ns, {topic})
        if stamp_ns not in self._waiting:
            self._waiting[stamp_ns] = {}
            self._begun[stamp_ns] = self._stamps
            self._stamps += 1
        found = self._waiting[stamp_ns]
        found[topic] = message
        if len(found) == len(self._topics):
            self.matched += 1
            del self._begun[stamp_ns]
            return self._waiting.pop(stamp_ns)
        while self._stamps - self._begun[oldest := next(iter(self._waiting))] > self._capacity:
            self._give_up(oldest, set(self._topics))
        return None

    def _give_up(self, stamp_ns: int, topics: set[str]) -> None:
        found = self._waiting[stamp_ns]
        for topic in topics & found.keys():
            del found[topic]
            self.unmatched[topic] += 1
        if not found:
            del self._waiting[stamp_ns], self._begun[stamp_ns]

    def silent(self) -> list[str]:
        """Return the topics that have brought nothing while others wait in vain."""
        return [topic for topic in self._topics if topic not in self.newest] if self.unmatched else []

    def problem(self) -> str | None:
        """Return one sentence if all topics bring messages but never two of one stamp, once some are given up."""
        if self.matched or not self.unmatched or len(self.newest) < len(self._topics):
            return None
        newest = ", ".join(f"{topic} at {self.newest[topic] / 1e9:.3f} s" for topic in self._topics)
        return (
            f"No stamps are equal ({newest}): the cameras must belong to one simulation, with the same sensor_tick "
            "and the labels from its images."
        )
