"""Read one sqlite3 file of a bag, whole, damaged or still being written."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeGuard

from querydiff_ros.bags.bag_file import ALL_TIMES, BagFile, BagMessage, StoredTopic, is_latched

MAGIC = b"SQLite format 3\0"
_LOST_ROWS = 10_000
"""So many rows in a row that cannot be read end a database; one page has some hundred at most."""
BROKEN = (sqlite3.Error, UnicodeError, OverflowError, MemoryError)
"""What a damaged database raises; UnicodeError where SQLite's sentence quotes what it found."""
_Row = tuple[int, int, int, bytes]
"""Id, topic's id, time in nanoseconds, data."""


class Sqlite3File(BagFile):
    """A sqlite3 file; where its index fails, every row that can be read comes out, by its number.

    A database that is damaged, or has a log of changes beside it, is copied to the temporary folder first.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._database, self._mode, self._indexed = path, "immutable=1", True
        self._names: dict[int, str] = {}
        self._log = path.with_name(f"{path.name}-wal")  # of a recorder that still writes: the newest messages
        if self._log.exists() and self._log.stat().st_size:
            self._use_copy()
        try:
            with self._connected() as database:
                self._read_topics(database)
                self._count_by_index(database)
        except BROKEN as error:
            self._fail(error)
            self._recover()

    def messages(self, topics: set[str], times: tuple[int, int] = ALL_TIMES) -> Iterator[BagMessage]:
        """Yield the messages of `topics` in `times`, those behind a damage in the order of their rows."""
        wanted = {number for number, name in self._names.items() if name in topics}
        last = (-1, -1)
        with self._connected() as database:
            if self._indexed:
                try:
                    for row in _ordered(database, wanted, times):
                        last = (row[2], row[0])
                        yield from self._sound(row)
                    return
                except BROKEN as error:
                    self._fail(error)
            for row in filter(_is_typed, _rows(database)):
                if (row[2], row[0]) > last and row[1] in wanted and times[0] <= row[2] < times[1]:
                    yield from self._sound(row)

    def _sound(self, row: _Row) -> Iterator[BagMessage]:
        message = self._message(self._names[row[1]], row[2], row[3])
        if message is not None:
            yield message

    def _read_topics(self, database: sqlite3.Connection) -> None:
        cursor = database.execute("SELECT * FROM topics ORDER BY id")
        columns = [column[0] for column in cursor.description]
        for values in cursor:
            row = dict(zip(columns, values, strict=True))
            texts = [row.get(name) for name in ("name", "type", "serialization_format", "offered_qos_profiles")]
            name, kind, encoding, profiles = (text if isinstance(text, str) else "" for text in texts)
            topic = StoredTopic(name, kind, encoding, is_latched(profiles))
            if isinstance(row.get("id"), int) and self._accept(topic):
                self._names[row["id"]] = name

    def _count_by_index(self, database: sqlite3.Connection) -> None:
        query = "SELECT topic_id, count(*), min(timestamp), max(timestamp) FROM messages GROUP BY topic_id"
        for number, count, first, last in database.execute(query):
            if number in self._names and isinstance(first, int) and isinstance(last, int):
                self._count(self._names[number], count, first, last)

    def _recover(self) -> None:
        """Count what can be read row by row of a copy."""
        self._indexed = False
        self._use_copy()
        _fit_page_count(self._database)
        self.counts.clear()
        with suppress(*BROKEN), self._connected() as database:  # not even the topics can be read
            self._read_topics(database)
            for row in filter(_is_typed, _rows(database)):
                if row[1] in self._names and any(self._sound(row)):
                    self._count(self._names[row[1]], 1, row[2], row[2])

    def _use_copy(self) -> None:
        if self._database != self.path:
            return
        self._database = self._temporary_folder() / self.path.name
        shutil.copyfile(self.path, self._database)
        if self._log.exists():
            shutil.copyfile(self._log, self._database.with_name(self._log.name))
            self._mode = "mode=rw"

    def _connected(self) -> closing[sqlite3.Connection]:
        database = sqlite3.connect(f"{self._database.absolute().as_uri()}?{self._mode}", uri=True)
        database.text_factory = lambda text: text.decode(errors="replace")
        return closing(database)


def _ordered(database: sqlite3.Connection, topics: set[int], times: tuple[int, int]) -> Iterator[_Row]:
    marks = ",".join("?" * len(topics))
    query = (
        f"SELECT id, topic_id, timestamp, data FROM messages WHERE topic_id IN ({marks}) "
        "AND timestamp >= ? AND timestamp < ? ORDER BY timestamp, id"
    )
    return filter(_is_typed, database.execute(query, [*topics, *times]))


def _rows(database: sqlite3.Connection) -> Iterator[Any]:
    """Yield the rows of messages, one after the other; one that cannot be read is stepped over."""
    # The index lies at the end of the file or is scattered through it: the table itself survives longest.
    query = "SELECT id, topic_id, timestamp, data FROM messages NOT INDEXED WHERE id "
    number, lost = 0, 0
    while lost < _LOST_ROWS:
        try:
            for row in database.execute(f"{query} > ? ORDER BY id", [number]):
                if not isinstance(row[0], int) or row[0] <= number:  # a damaged page repeats itself
                    raise sqlite3.DatabaseError
                number, lost = row[0], 0
                yield row
            return
        except BROKEN:
            number, lost = number + 1, lost + 1
            with suppress(*BROKEN):  # Python reads one row ahead: this one may be whole
                yield from database.execute(f"{query} = ?", [number])


def _is_typed(row: tuple[object, ...]) -> TypeGuard[_Row]:
    return [type(value) for value in row] == [int, int, int, bytes]


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
