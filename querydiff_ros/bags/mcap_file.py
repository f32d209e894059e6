"""Read one mcap file, with or without its index, whole or damaged."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from functools import partial
from io import SEEK_END, BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import make_reader
from mcap.records import Channel, Chunk, McapRecord, Message, Schema
from mcap.stream_reader import breakup_chunk
from mcap.summary import Summary

from querydiff_ros.bags.bag_file import (
    ALL_TIMES,
    LAST_NS,
    BagFile,
    BagMessage,
    StoredTopic,
    in_order_of_time,
    is_latched,
)

MAGIC = b"\x89MCAP0\r\n"
HEAD = struct.Struct("<BQ")
"""What every record begins with: its opcode and the size of what follows."""
_CHUNK = re.compile(rb"\x06(?=(.{8}).{28}(\0{4}|\x03\0{3}lz4|\x04\0{3}zstd)(.{8}))", re.DOTALL)
"""Opcode of a chunk before its size, the name of its compression, and the size of what is compressed."""
_CHUNK_HEADER = 64
"""Bytes that hold a chunk's header."""


class _Piece(NamedTuple):
    """A chunk, or a message outside of chunks; `channels` is None where it is not known which it holds."""

    first_ns: int
    offset: int
    size: int
    last_ns: int
    channels: frozenset[int] | None


class McapFile(BagFile):
    """An mcap file as its pieces, found by its index, or record by record where that is missing or wrong."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._types: dict[int, str] = {}
        self._channels: dict[int, StoredTopic | None] = {}
        self._pieces: list[_Piece] = []
        with path.open("rb") as stream:
            if not self._read_index(stream):
                self._scan(stream)

    def messages(self, topics: set[str], times: tuple[int, int] = ALL_TIMES) -> Iterator[BagMessage]:
        """Yield the messages of `topics` in `times`; a damaged chunk is left out as a whole."""
        channels = {number for number, topic in self._channels.items() if topic and topic.name in topics}
        wanted = [
            piece
            for piece in self._pieces
            if (piece.channels is None or piece.channels & channels)
            and piece.first_ns < times[1]
            and piece.last_ns >= times[0]
        ]
        with self.path.open("rb") as stream:
            yield from in_order_of_time(
                (piece.first_ns, partial(self._read, stream, piece, channels, times)) for piece in wanted
            )

    def _read(
        self, stream: BinaryIO, piece: _Piece, channels: set[int], times: tuple[int, int]
    ) -> Iterator[BagMessage]:
        found = []
        for record in self._open(stream, piece):
            topic = self._channels.get(record.channel_id)
            if topic and record.channel_id in channels and times[0] <= record.log_time < times[1]:
                message = self._message(topic.name, record.log_time, record.data)
                found += [message] if message else []
        return iter(sorted(found, key=lambda message: message.time_ns))

    def _open(self, stream: BinaryIO, piece: _Piece) -> list[Message]:
        """Return the messages of a piece, or none if it is damaged; channels it defines become known."""
        try:
            records = _records(stream, piece)
        except Exception as error:  # what is damaged makes parsers and decompressors raise anything
            self._fail(f"the chunk at byte {piece.offset} cannot be read: {str(error) or type(error).__name__}")
            return []
        for record in records:
            self._learn(record)
        return [record for record in records if isinstance(record, Message)]

    def _learn(self, record: McapRecord) -> None:
        if isinstance(record, Schema):
            self._types.setdefault(record.id, record.name)
        elif isinstance(record, Channel) and record.id not in self._channels:
            latched = is_latched(record.metadata.get("offered_qos_profiles", ""))
            topic = StoredTopic(record.topic, self._types.get(record.schema_id, ""), record.message_encoding, latched)
            self._channels[record.id] = topic if self._accept(topic) else None

    def _read_index(self, stream: BinaryIO) -> bool:
        """Learn from the summary what there is; False if it is missing or cannot be right."""
        try:
            summary = make_reader(stream).get_summary()
        except Exception as error:  # as above
            self._fail(f"its index cannot be read: {str(error) or type(error).__name__}")
            return False
        if summary is None or not _is_complete(summary):
            return False
        for record in (*summary.schemas.values(), *summary.channels.values()):
            self._learn(record)
        assert summary.statistics
        for number, count in summary.statistics.channel_message_counts.items():
            if topic := self._channels[number]:
                self.counts[topic.name] += count
        for index in summary.chunk_indexes:
            first, last = index.message_start_time, index.message_end_time
            channels = frozenset(index.message_index_offsets) or None
            self._pieces.append(_Piece(first, index.chunk_start_offset, index.chunk_length, last, channels))
            self._spread(first, last)
        return True

    def _scan(self, stream: BinaryIO) -> None:
        """Look at every record: the chunk that defines a channel may be damaged, and the index repeats it."""
        pieces = []
        for offset, opcode, size in self._walk(stream):
            piece = _Piece(0, offset, size, 0, None)
            if opcode in (Opcode.SCHEMA, Opcode.CHANNEL):
                self._open(stream, piece)
            elif opcode in (Opcode.CHUNK, Opcode.MESSAGE):
                pieces.append(piece)
        for piece in pieces:
            if messages := self._open(stream, piece):
                times = [message.log_time for message in messages]
                channels = frozenset(message.channel_id for message in messages)
                self._pieces.append(piece._replace(first_ns=min(times), last_ns=max(times), channels=channels))
            for message in messages:
                if (topic := self._channels.get(message.channel_id)) and message.log_time < LAST_NS:
                    self._count(topic.name, 1, message.log_time, message.log_time)

    def _walk(self, stream: BinaryIO) -> Iterator[tuple[int, int, int]]:
        """Yield offset, opcode and size of each record; after bytes that are none it goes on with the next chunk."""
        end, offset = stream.seek(0, SEEK_END), len(MAGIC)
        while offset < end:
            stream.seek(offset)
            head = stream.read(HEAD.size)
            opcode, size = HEAD.unpack(head) if len(head) == HEAD.size else (0, 0)
            if not 1 <= opcode <= Opcode.DATA_END or offset + HEAD.size + size > end:
                self._fail(f"no record begins at byte {offset} of {end}")
                offset = _next_chunk(stream, offset + 1)
                continue
            yield offset, opcode, HEAD.size + size
            if opcode == Opcode.FOOTER:
                return
            offset += HEAD.size + size
        self._fail("it ends without an index")


def _is_complete(summary: Summary) -> bool:
    counted = summary.statistics
    return bool(
        counted
        and summary.chunk_indexes
        and counted.chunk_count == len(summary.chunk_indexes)
        and counted.message_count == sum(counted.channel_message_counts.values())
        and counted.channel_message_counts.keys() <= summary.channels.keys()
    )


def _records(stream: BinaryIO, piece: _Piece) -> list[McapRecord]:
    stream.seek(piece.offset)
    opcode, size = HEAD.unpack(stream.read(HEAD.size))
    if size + HEAD.size != piece.size:
        raise ValueError("its size is not the one in the index")
    body = ReadDataStream(BytesIO(stream.read(size)))
    if opcode != Opcode.CHUNK:
        kind = {Opcode.SCHEMA: Schema.read, Opcode.CHANNEL: Channel.read}.get(opcode)
        return [kind(body) if kind else Message.read(body, size)]
    chunk = Chunk.read(body)
    if not chunk.compression and len(chunk.data) != chunk.uncompressed_size:
        raise ValueError("it is cut short")
    return breakup_chunk(chunk, validate_crc=True)


def _next_chunk(stream: BinaryIO, start: int) -> int:
    """Return where the first chunk at `start` or later begins, or the end of the file."""
    stream.seek(start)
    while len(window := stream.read(2**20)) > _CHUNK_HEADER:
        for found in _CHUNK.finditer(window):
            size, name, compressed = found.groups()
            if int.from_bytes(size, "little") == 36 + len(name) + int.from_bytes(compressed, "little"):
                return start + found.start()
        start = stream.seek(start + len(window) - _CHUNK_HEADER)
    return stream.seek(0, SEEK_END)
