"""What every file of a bag gives, whatever stores it: topics, counts and messages, and what is wrong with it."""

from __future__ import annotations

import heapq
import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import zstandard

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
LAST_NS = 2**31 * 10**9
"""Times from here on do not fit into builtin_interfaces/Time."""
ALL_TIMES = (0, LAST_NS)


class BagMessage(NamedTuple):
    """One recorded message: `time_ns` since the epoch when it was recorded, `data` its CDR bytes."""

    topic: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class StoredTopic:
    """A topic of a file: `msgtype` such as sensor_msgs/msg/Image, `latched` if transient local."""

    name: str
    msgtype: str
    encoding: str
    latched: bool

    @property
    def refusal(self) -> str:
        """Return what the messages are if they are no CDR of ROS 2, else nothing."""
        if self.encoding == "ros1":
            return f"ROS 1 {self.msgtype}"
        if self.encoding != "cdr":
            return f"{self.encoding or 'unknown encoding'} {self.msgtype}".strip()
        if self.msgtype.count("/") != 2:
            return f"no ROS 2 type {self.msgtype!r}"
        return "" if self.name.isprintable() else "no name of a topic"


class BagFile(ABC):
    """One file of a bag, opened; a damaged one gives the whole messages that it holds.

    Attributes:
        path: the file.
        topics: those with messages that can be read, by name.
        passed_over: topics with messages of another kind, and what they are.
        counts: messages by topic, as far as the file knows without reading them all.
        span: times of the first and the last message, nanoseconds; None without messages.
        damage: the first thing that was found to be wrong, "" while nothing has been.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.topics: dict[str, StoredTopic] = {}
        self.passed_over: dict[str, str] = {}
        self.counts: Counter[str] = Counter()
        self.span: tuple[int, int] | None = None
        self.damage = ""

    @abstractmethod
    def messages(self, topics: set[str], times: tuple[int, int]) -> Iterator[BagMessage]:
        """Yield the messages of `topics` recorded in `times`, from the first up to, not including, the second.

        They come in order of time; those behind a damage may follow in order of writing.
        """

    def _fail(self, reason: object) -> None:
        self.damage = self.damage or f"{self.path.name}: {_one_line(reason)}"

    def _accept(self, topic: StoredTopic) -> bool:
        """Remember a topic, and return whether its messages can be read."""
        first = self.topics.get(topic.name)
        clash = first and first.msgtype != topic.msgtype and f"{topic.msgtype} beside {first.msgtype}"
        if refusal := topic.refusal or clash:
            self.passed_over[_one_line(topic.name)] = _one_line(refusal)
            return False
        self.topics[topic.name] = replace(topic, latched=topic.latched or bool(first and first.latched))
        return True

    def _count(self, topic: str, messages: int, first_ns: int, last_ns: int) -> None:
        self.counts[topic] += messages
        self._spread(first_ns, last_ns)

    def _spread(self, first_ns: int, last_ns: int) -> None:
        first_ns, last_ns = max(first_ns, 0), min(last_ns, LAST_NS - 1)
        if first_ns <= last_ns:
            before = self.span or (first_ns, last_ns)
            self.span = (min(before[0], first_ns), max(before[1], last_ns))

    def _message(self, topic: str, time_ns: int, stored: bytes) -> BagMessage | None:
        """Return a message, None if it is no sound one; what rosbag2 compressed message by message is decompressed."""
        data = _decompressed(stored) if stored[:4] == ZSTD_MAGIC else stored
        if len(data) >= 4 and data[0] == 0 and data[1] <= 0x0B and 0 <= time_ns < LAST_NS:  # CDR's first four bytes
            return BagMessage(topic, time_ns, data)
        self._fail(f"a message of {topic} is no CDR, or has an impossible time")
        return None

    def _temporary_folder(self) -> Path:
        """Return a folder that lives as long as this object."""
        folder = tempfile.mkdtemp()
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)


def in_order_of_time(
    streams: Iterable[tuple[int, Callable[[], Iterator[BagMessage]]]],
) -> Iterator[BagMessage]:
    """Merge streams that are each in order of time; none is opened before its first time, given with it, has come."""
    closed = deque(sorted(enumerate(streams), key=lambda each: (each[1][0], each[0])))
    current: list[tuple[int, int, BagMessage, Iterator[BagMessage]]] = []
    while closed or current:
        if closed and (not current or closed[0][1][0] <= current[0][0]):
            number, (_, start) = closed.popleft()
            stream = start()
        else:
            _, number, message, stream = heapq.heappop(current)
            yield message
        if (following := next(stream, None)) is not None:
            heapq.heappush(current, (following.time_ns, number, following, stream))


def is_latched(qos_profiles: str) -> bool:
    """Return whether QoS profiles as rosbag2 writes them (YAML, words or rmw's numbers) are transient local."""
    return "durability: transient_local" in qos_profiles or "durability: 1" in qos_profiles


def _decompressed(data: bytes) -> bytes:
    try:
        return zstandard.ZstdDecompressor().decompressobj().decompress(data)
    except (zstandard.ZstdError, MemoryError):
        return b""


def _one_line(reason: object) -> str:
    printable = "".join(letter if letter.isprintable() else " " for letter in str(reason))
    return " ".join(printable.split()).rstrip(".") or type(reason).__name__
