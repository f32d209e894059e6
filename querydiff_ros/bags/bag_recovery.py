"""Read the whole messages of a damaged bag file: one that was cut off, has rotted, or lost its index or metadata."""

from __future__ import annotations

import io
import re
import shutil
import sqlite3
import struct
from collections import deque
from collections.abc import Container, Iterator
from contextlib import closing, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, NamedTuple

from rosbags.rosbag2.storage_mcap import decompress

_MCAP_MAGIC = b"\x89MCAP0\r\n"
_MCAP_OPCODES, _MCAP_CHANNELS = range(0x01, 0x10), (0x03, 0x04)
_MCAP_CHUNK = re.compile(rb"\x06(?=(.{8}).{28}(\0{4}|\x03\0{3}lz4|\x04\0{3}zstd)(.{8}))", re.DOTALL)
"""Opcode of a chunk before its size, the name of its compression, and the size of what is compressed."""
_CHUNK_HEADER = 64
"""Bytes that hold a chunk's header."""
_LOST_ROWS = 10_000
"""So many rows in a row that cannot be read end a database; one page has some hundred at most."""


class RecoveredMessage(NamedTuple):
    """One message: `data` is its CDR bytes, `latched` whether its publisher was transient local."""

    topic: str
    msgtype: str
    latched: bool
    time_ns: int
    data: bytes


def recover(file: Path) -> Iterator[RecoveredMessage]:
    """Yield the whole messages of a `.mcap` or `.db3` file in the order of writing, those behind a damage too.

    An mcap chunk that does not decompress, or to another checksum, is left out; a file without any readable part yields
    nothing.
    """
    return _salvage_mcap(file) if file.suffix == ".mcap" else _salvage_sqlite3(file)


def _salvage_mcap(file: Path) -> Iterator[RecoveredMessage]:
    with file.open("rb") as stream:
        if stream.read(8) == _MCAP_MAGIC:
            scan = _McapScan()
            scan.learn_channels(stream)
            stream.seek(8)
            yield from scan.messages(stream)


class _McapScan:
    """Walk the records of an mcap file without its index; opcodes and layouts are those of mcap.dev/spec."""

    def __init__(self) -> None:
        self._types: dict[int, str] = {}
        self._channels: dict[int, tuple[str, str, bool]] = {}

    def learn_channels(self, stream: BinaryIO) -> None:
        """Read the channels outside of chunks, as in the summary: the chunk that defines a channel may be damaged."""
        for opcode, body in _mcap_records(stream, _MCAP_CHANNELS):
            deque(self._read(opcode, body), maxlen=0)

    def messages(self, stream: BinaryIO) -> Iterator[RecoveredMessage]:
        """Yield the messages from where the stream stands."""
        for opcode, body in _mcap_records(stream, _MCAP_OPCODES):
            yield from self._read(opcode, body)

    def _read(self, opcode: int, body: _McapBody) -> Iterator[RecoveredMessage]:
        with suppress(struct.error):  # a record shorter than its kind demands
            if opcode == 0x03:
                schema, name = body.uint("<H"), body.string()
                self._types[schema] = name
            elif opcode == 0x04:
                number, schema = body.uint("<H"), body.uint("<H")
                topic, _, metadata = body.string(), body.string(), body.string()
                self._channels[number] = (topic, self._types.get(schema, ""), is_latched(metadata))
            elif opcode == 0x05:
                channel, _, time_ns, _ = (body.uint(layout) for layout in ("<H", "<I", "<Q", "<Q"))
                if channel in self._channels:
                    yield RecoveredMessage(*self._channels[channel], time_ns, body.read())
            elif opcode == 0x06:
                yield from self.messages(io.BytesIO(body.chunk()))


class _McapBody(io.BytesIO):
    """The body of one mcap record."""

    def uint(self, layout: str) -> int:
        (value,) = struct.unpack(layout, self.read(struct.calcsize(layout)))
        return int(value)

    def string(self) -> str:
        return self.read(self.uint("<I")).decode(errors="replace")

    def chunk(self) -> bytes:
        """Return the decompressed records of a chunk, or nothing if they are damaged."""
        self.seek(16)
        size, checksum, compression = self.uint("<Q"), self.uint("<I"), self.string()
        data = self.read(self.uint("<Q"))
        try:
            return decompress(data, compression, size, checksum)
        except Exception:  # each compressor has exceptions of its own
            return b""


def _mcap_records(stream: BinaryIO, wanted: Container[int]) -> Iterator[tuple[int, _McapBody]]:
    """Yield opcode and body of each wanted record; after bytes that are none it goes on with the next chunk."""
    start = stream.tell()
    end = stream.seek(0, io.SEEK_END)
    stream.seek(start)
    while len(header := stream.read(9)) == 9:
        opcode, size = struct.unpack("<BQ", header)
        start = stream.tell()
        if opcode not in _MCAP_OPCODES or size > end - start:
            _seek_chunk(stream, start - 8)
        elif opcode in wanted:
            yield opcode, _McapBody(stream.read(size))
        else:
            stream.seek(size, io.SEEK_CUR)


def _seek_chunk(stream: BinaryIO, start: int) -> None:
    """Move the stream to the first chunk at `start` or later, or to its end."""
    stream.seek(start)
    while len(window := stream.read(2**20)) > _CHUNK_HEADER:
        for found in _MCAP_CHUNK.finditer(window):
            size, name, compressed = found.groups()
            if int.from_bytes(size, "little") == 36 + len(name) + int.from_bytes(compressed, "little"):
                stream.seek(start + found.start())
                return
        start = stream.seek(start + len(window) - _CHUNK_HEADER)
    stream.seek(0, io.SEEK_END)


def _salvage_sqlite3(file: Path) -> Iterator[RecoveredMessage]:
    with TemporaryDirectory() as folder:
        copy = Path(folder) / file.name
        shutil.copyfile(file, copy)
        _fit_page_count(copy)
        log = file.with_name(f"{file.name}-wal")  # of a recorder that still writes, or was killed: the newest messages
        if log.exists():
            shutil.copyfile(log, copy.with_name(f"{copy.name}-wal"))
        try:
            how = "mode=rw" if log.exists() else "immutable=1"
            with closing(sqlite3.connect(f"file:{copy}?{how}", uri=True)) as database:
                yield from _sqlite3_messages(database)
        except sqlite3.DatabaseError:
            return  # not even the topics can be read


def _fit_page_count(database: Path) -> None:
    """Cut a database to whole pages and say so in its header: SQLite refuses a file shorter than its header says."""
    with database.open("r+b") as stream:
        header = stream.read(100)
        page_size = int.from_bytes(header[16:18], "big") if len(header) == 100 else 0
        page_size = 65536 if page_size == 1 else page_size
        if page_size >= 512:
            pages = database.stat().st_size // page_size
            stream.truncate(pages * page_size)
            stream.seek(28)
            stream.write(pages.to_bytes(4, "big"))


def _sqlite3_messages(database: sqlite3.Connection) -> Iterator[RecoveredMessage]:
    database.row_factory = sqlite3.Row
    topics = {}
    for row in database.execute("SELECT * FROM topics"):
        profiles = row["offered_qos_profiles"] if "offered_qos_profiles" in row.keys() else ""  # noqa: SIM118
        topics[row["id"]] = (row["name"], row["type"], is_latched(profiles))
    for row in _sqlite3_rows(database):
        if row["topic_id"] in topics:
            yield RecoveredMessage(*topics[row["topic_id"]], row["timestamp"], row["data"])


def _sqlite3_rows(database: sqlite3.Connection) -> Iterator[sqlite3.Row]:
    """Yield the messages' rows, one after the other; a row on a damaged page is stepped over."""
    # The index lies at the end of the file or is scattered through it: the table itself survives longest.
    query = "SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED WHERE id > ? ORDER BY id"
    number, lost = 0, 0
    while lost < _LOST_ROWS:
        try:
            for row in database.execute(query, [number]):
                number, lost = row["id"], 0
                yield row
            return
        except sqlite3.DatabaseError:
            number, lost = number + 1, lost + 1


def is_latched(qos_profiles: str) -> bool:
    """Tell whether QoS profiles as rosbag2 writes them (YAML, words or rmw's numbers) are transient local."""
    return "durability: transient_local" in qos_profiles or "durability: 1" in qos_profiles
