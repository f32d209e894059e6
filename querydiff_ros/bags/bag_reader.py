"""Read the raw messages of a rosbag2, whole or damaged, from its files; what its metadata states is checked by them."""

from __future__ import annotations

import re
import shutil
import tempfile
import weakref
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
import zstandard

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bags.bag_file import LAST_NS, ZSTD_MAGIC, BagFile, BagMessage, in_order_of_time
from querydiff_ros.bags.mcap_file import MAGIC as MCAP_MAGIC
from querydiff_ros.bags.mcap_file import McapFile
from querydiff_ros.bags.sqlite3_file import MAGIC as SQLITE3_MAGIC
from querydiff_ros.bags.sqlite3_file import Sqlite3File

_FORMATS: dict[str, tuple[bytes, type[McapFile] | type[Sqlite3File]]] = {
    ".mcap": (MCAP_MAGIC, McapFile),
    ".db3": (SQLITE3_MAGIC, Sqlite3File),
}
_BAG_FILE = re.compile(r".+\.(mcap|db3|bag)(\.\w{2,4})?")
"""Names of files that hold messages, whole or compressed; `.bag` is ROS 1."""
_ROS1_MAGIC = b"#ROSBAG"


@dataclass(frozen=True)
class BagTopic:
    """A topic of a bag: `msgtype` such as sensor_msgs/msg/Image, `count` messages, `latched` if transient local."""

    name: str
    msgtype: str
    count: int
    latched: bool


class BagReader:
    """The topics and messages of a rosbag2 folder or of one of its files: mcap or sqlite3, compressed or not.

    Attributes:
        path: the bag.
        topics: its topics by name.
        start_ns, end_ns: times of the first and the last message, nanoseconds since the epoch.
        damage: what is wrong with the bag in one sentence, None while nothing has been found.
        notes: sentences on what is passed over, or read unasked, though nothing is wrong with it.

    Raises:
        QueryDiffError: if there is no bag at `path`, or nothing in it can be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.exists():
            raise QueryDiffError(f"No bag {self.path}: expected a rosbag2 folder, or an .mcap or .db3 file.")
        self._scratch: Path | None = None
        stated = _metadata(self.path)
        files = bag_files(self.path)
        listed, here = stated.files if stated else [], [file.name.removesuffix(".zstd") for file in files]
        self._faults = [f"{name} is missing" for name in listed if name not in here]
        self._files = [self._opened(file) for file in files]
        self._stated = stated.counts if stated else Counter()
        for name in {name for file in self._files for name in file.passed_over.keys() - file.topics.keys()}:
            del self._stated[name]
        self._lacks_metadata = self.path.is_dir() and stated is None
        self.topics = self._merged_topics()
        self.notes = self._passed_over()
        spans = [file.span for file in self._files if file.span]
        if not self.topics or not spans:
            raise QueryDiffError(self._nothing())
        if stated and (more := [name for name in here if name not in listed]):
            self.notes.append(f"{self.path}: {', '.join(more)}, which its metadata.yaml does not list, is read too.")
        self.start_ns, self.end_ns = min(first for first, _ in spans), max(last for _, last in spans)
        self.damage = self._judge(Counter({topic.name: topic.count for topic in self.topics.values()}), self._stated)

    def messages(
        self, topics: Collection[str] | None = None, start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[BagMessage]:
        """Yield the messages of `topics` (None: all) recorded at `start_ns` or later and before `stop_ns`.

        They come in order of time, also across files. Where the bag turns out to be damaged, what is whole behind it
        follows, and `damage` says, once all have come, what was lost.
        """
        wanted = set(self.topics if topics is None else topics) & self.topics.keys()
        times = (start_ns or 0, LAST_NS if stop_ns is None else stop_ns)
        given: Counter[str] = Counter()
        streams = [
            (file.span[0], partial(file.messages, self._wanted(file, wanted), times))
            for file in self._files
            if file.span
        ]
        for message in in_order_of_time(streams):
            given[message.topic] += 1
            yield message
        if times[0] <= self.start_ns and stop_ns is None:  # of a part it is not known what it held
            held = Counter({name: topic.count for name, topic in self.topics.items()}) | self._stated
            self.damage = self._judge(given, Counter({name: held[name] for name in wanted}))

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

    def _opened(self, file: Path) -> BagFile:
        try:
            return self._open(file)
        except OSError as error:
            raise QueryDiffError(f"{file} cannot be read as a rosbag2: {error.strerror or error}.") from error

    def _open(self, file: Path) -> BagFile:
        with file.open("rb") as stream:
            head = stream.read(16)
        suffix = next((name for name, (magic, _) in _FORMATS.items() if head.startswith(magic)), file.suffix)
        if head.startswith(_ROS1_MAGIC) or suffix == ".bag":
            raise QueryDiffError(
                f"{file} is a bag of ROS 1: convert it with rosbags-convert --src {file} --dst {file.with_suffix('')}, "
                "of the Python package rosbags."
            )
        if head.startswith(ZSTD_MAGIC):
            return self._open(self._decompressed(file))
        if suffix not in _FORMATS:
            compressed = ": it is compressed, which only zstd is read of; decompress it first" if file.suffix else ""
            hint = compressed if _BAG_FILE.fullmatch(file.name) else ": expected an .mcap or .db3 file"
            raise QueryDiffError(f"{file} cannot be read as a rosbag2{hint}.")
        return _FORMATS[suffix][1](file)

    def _decompressed(self, file: Path) -> Path:
        if self._scratch is None:
            self._scratch = Path(tempfile.mkdtemp())
            weakref.finalize(self, shutil.rmtree, self._scratch, ignore_errors=True)
        target = self._scratch / file.stem
        with file.open("rb") as source, target.open("wb") as stream:
            try:
                zstandard.ZstdDecompressor().copy_stream(source, stream)
            except zstandard.ZstdError as error:  # what came before is read, and found to be cut short
                self._faults.append(f"{file.name}: {error}")
        return target

    def _merged_topics(self) -> dict[str, BagTopic]:
        counts: Counter[str] = Counter()
        found: dict[str, BagTopic] = {}
        for file in self._files:
            for name, topic in file.topics.items():
                before = found.setdefault(name, BagTopic(name, topic.msgtype, 0, topic.latched))
                if before.msgtype != topic.msgtype:
                    file.passed_over[name] = f"{topic.msgtype} beside {before.msgtype}"
                    continue
                counts[name] += file.counts[name]
                found[name] = BagTopic(name, topic.msgtype, counts[name], before.latched or topic.latched)
        return {name: topic for name, topic in found.items() if topic.count}

    def _wanted(self, file: BagFile, topics: set[str]) -> set[str]:
        return {name for name in topics & file.topics.keys() if file.topics[name].msgtype == self.topics[name].msgtype}

    def _passed_over(self) -> list[str]:
        kinds = {name: kind for file in self._files for name, kind in file.passed_over.items()}
        if not kinds:
            return []
        named = ", ".join(f"{name} ({kind})" for name, kind in sorted(kinds.items()))
        return [f"{self.path}: passed over are {named}; only messages of ROS 2 in CDR, one type a topic, are read."]

    def _nothing(self) -> str:
        faults = [*self._faults, *(file.damage for file in self._files if file.damage)]
        if not self._files:
            faults.append("there is no .mcap or .db3 file in it")
        if self.notes:
            return f"Nothing in it can be read. {self.notes[0]}"
        return f"{self.path} cannot be read as a rosbag2: {'; '.join(faults) or 'it holds no message'}."

    def _judge(self, given: Counter[str], stated: Counter[str]) -> str | None:
        """Return what is wrong in one sentence, after `given` messages by topic, where `stated` are to be there."""
        faults = [*self._faults, *(file.damage for file in self._files if file.damage)]
        lost = ", ".join(f"{count} of {name}" for name, count in sorted((stated - given).items()))
        holds = f"it still holds {given.total()} whole messages{f', lost are {lost}' if lost else ''}."
        if faults or lost:
            return f"{self.path} is damaged ({'; '.join(faults) or 'it has fewer messages than it states'}): {holds}"
        if self._lacks_metadata:
            return f"{self.path} has no metadata.yaml, which recorders write at the end: {holds}"
        return None


def is_bag_file(path: Path) -> bool:
    """Return whether the name of `path` is that of a bag's file."""
    return bool(_BAG_FILE.fullmatch(path.name))


def bag_files(path: Path) -> list[Path]:
    """Return the files of the bag at `path` in the order of their numbers; a compressed one only if it stands alone."""
    if not path.is_dir():
        return [path]
    files = {file.name: file for file in path.iterdir() if is_bag_file(file) and file.is_file()}
    alone = [file for name, file in files.items() if file.suffix != ".bag" and name.rpartition(".")[0] not in files]
    return sorted(alone, key=_counting)


@dataclass(frozen=True)
class _Metadata:
    """What metadata.yaml states: names of files, as they are when decompressed, and messages by topic."""

    files: list[str]
    counts: Counter[str]


def _metadata(folder: Path) -> _Metadata | None:
    """Read a metadata.yaml of any version; None if there is none that can be read."""
    try:
        text = (folder / "metadata.yaml").read_text(encoding="utf-8")
        stated: Any = yaml.safe_load(text)["rosbag2_bagfile_information"]
        files = [Path(str(name)).name.removesuffix(".zstd") for name in stated["relative_file_paths"]]
        counts: Counter[str] = Counter()
        for topic in stated["topics_with_message_count"]:
            counts[str(topic["topic_metadata"]["name"])] += int(topic["message_count"])
        return _Metadata(files, counts)
    except (OSError, ValueError, yaml.YAMLError, KeyError, TypeError, RecursionError):
        return None


def _counting(file: Path) -> list[tuple[int, str]]:
    """Sort key of a file's name that puts 2 before 10: the files of a split bag are numbered."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", file.name)]
