"""Read the raw messages of a rosbag2, whole or damaged."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from rosbags.interfaces import Connection, QosDurability
from rosbags.rosbag2 import Reader

from querydiff_core.errors import QueryDiffError, one_line
from querydiff_ros.bags.bag_recovery import RecoveredMessage, recover


class BagMessage(NamedTuple):
    """One recorded message: `time_ns` since the epoch when it was recorded, `data` its CDR bytes."""

    topic: str
    time_ns: int
    data: bytes


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag: `msgtype` such as sensor_msgs/msg/Image, `count` messages, `latched` if transient local."""

    name: str
    msgtype: str
    count: int
    latched: bool


class BagReader:
    """The topics and messages of a rosbag2 folder or of one of its files (mcap or sqlite3).

    Attributes:
        path: the bag.
        topics: its topics by name.
        start_ns, end_ns: times of the first and the last message, nanoseconds since the epoch.
        damage: what is wrong with the bag in one sentence, None while nothing has been found.

    Raises:
        QueryDiffError: if there is no bag at `path`, or nothing in it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.damage: str | None = None
        self._whole, self._compressed = True, False
        if not self.path.exists():
            raise QueryDiffError(f"No bag {self.path}: expected a rosbag2 folder, or an .mcap or .db3 file.")
        try:
            self._read_index()
        except Exception as error:  # a damaged file makes the parser raise anything
            self._whole = False
            self._scan(error)
        if not self.topics:
            raise QueryDiffError(f"{self.path} holds no message.")

    def messages(
        self, topics: Collection[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Yield the messages of `topics` (None: all) recorded at `start_ns` or later and before `stop_ns`.

        They come in order of time. Where the bag turns out to be damaged, what is whole behind it follows in order of
        writing, and `damage` says, once all have come, what was lost.
        """
        wanted = set(self.topics if topics is None else topics)
        read = self._read_whole if self._whole else self._read_damaged
        return read(wanted, start_ns, stop_ns)

    def select(self, names: Sequence[str]) -> list[BagTopic]:
        """Return the topics of these names.

        Raises:
            QueryDiffError: if the bag lacks one; the sentence lists what it has.
        """
        missing = [name for name in names if name not in self.topics]
        if missing:
            raise QueryDiffError(
                f"{self.path} has no topic {', '.join(missing)}; it has {', '.join(sorted(self.topics))}."
            )
        return [self.topics[name] for name in names]

    def _read_index(self) -> None:
        with Reader(self.path) as reader:
            self.start_ns, self.end_ns = reader.start_time, reader.end_time - 1
            self._compressed = bool(reader.compression_mode)
            counts: Counter[str] = Counter()
            for connection in reader.connections:
                counts[connection.topic] += connection.msgcount
            self.topics = {
                c.topic: BagTopic(c.topic, c.msgtype, counts[c.topic], _latched(c))
                for c in reader.connections
                if counts[c.topic]
            }

    def _scan(self, error: Exception) -> None:
        topics: dict[str, tuple[str, bool]] = {}
        counts: Counter[str] = Counter()
        times: list[int] = []
        for message in self._salvaged():
            topics[message.topic] = (message.msgtype, message.latched)
            counts[message.topic] += 1
            times.append(message.time_ns)
        if not times:
            raise QueryDiffError(f"{self.path} cannot be read as a rosbag2: {one_line(error)}.") from error
        self.start_ns, self.end_ns = min(times), max(times)
        self.topics = {name: BagTopic(name, kind, counts[name], latched) for name, (kind, latched) in topics.items()}
        self.damage = f"{self.path} is damaged ({one_line(error)}): it still holds {len(times)} whole messages."

    def _read_whole(self, topics: set[str], start_ns: int | None, stop_ns: int | None) -> Iterator[BagMessage]:
        given = _Given()
        try:
            with Reader(self.path) as reader:
                connections = [c for c in reader.connections if c.topic in topics]
                for connection, time_ns, data in reader.messages(connections, start_ns, stop_ns):
                    given.add(connection.topic, time_ns)
                    yield BagMessage(connection.topic, time_ns, bytes(data))
        except Exception as error:  # as above
            self.damage = f"{self.path} is damaged ({one_line(error)})."
            if not self._compressed:  # rosbag2's own compression, older than that of mcap, is not recovered
                for message in self._read_damaged(topics, start_ns, stop_ns):
                    if not given.had(message.topic, message.time_ns):
                        given.counts[message.topic] += 1
                        yield message
            held = Counter({name: topic.count for name, topic in self.topics.items() if name in topics})
            lost = ", ".join(f"{count} of {name}" for name, count in sorted((held - given.counts).items()))
            lost = lost if start_ns is None and stop_ns is None else ""  # of a part it is not known what it held
            self.damage = (
                f"{self.path} is damaged ({one_line(error)}): {given.counts.total()} whole messages could be read"
                f"{f', lost are {lost}' if lost else ''}."
            )

    def _read_damaged(self, topics: set[str], start_ns: int | None, stop_ns: int | None) -> Iterator[BagMessage]:
        for message in self._salvaged():
            late_enough = start_ns is None or message.time_ns >= start_ns
            early_enough = stop_ns is None or message.time_ns < stop_ns
            if message.topic in topics and late_enough and early_enough:
                yield BagMessage(message.topic, message.time_ns, message.data)

    def _salvaged(self) -> Iterator[RecoveredMessage]:
        files = sorted(self.path.iterdir(), key=_counting) if self.path.is_dir() else [self.path]
        for file in files:
            if file.suffix in (".mcap", ".db3"):
                yield from recover(file)


class _Given:
    """What was given of a bag: `counts` by topic, and up to when. Messages of one topic are taken to be in order."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._newest: dict[str, int] = {}
        self._at_newest: Counter[str] = Counter()

    def add(self, topic: str, time_ns: int) -> None:
        self.counts[topic] += 1
        if self._newest.get(topic) != time_ns:
            self._newest[topic] = time_ns
            self._at_newest[topic] = 0
        self._at_newest[topic] += 1

    def had(self, topic: str, time_ns: int) -> bool:
        """Tell whether a message of a second reading, in the same order, was given in the first."""
        newest = self._newest.get(topic)
        if newest is None or time_ns > newest:
            return False
        if time_ns == newest:
            self._at_newest[topic] -= 1
            return self._at_newest[topic] >= 0
        return True


def _counting(file: Path) -> list[tuple[int, str]]:
    """Sort key of a file's name that puts 2 before 10: the files of a split bag are numbered."""
    return [(int(word), "") if word.isdigit() else (-1, word) for word in re.split(r"(\d+)", file.name)]


def _latched(connection: Connection) -> bool:
    profiles = getattr(connection.ext, "offered_qos_profiles", [])
    return any(profile.durability is QosDurability.TRANSIENT_LOCAL for profile in profiles)
