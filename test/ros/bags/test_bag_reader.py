"""Bags that were cut off, have rotted, or lost a file: what is whole comes out, and what is not is said."""

import os
import re
import shutil
import sqlite3
from collections import Counter
from contextlib import closing
from itertools import pairwise

import pytest
from mcap.reader import NonSeekingReader
from rosbags.rosbag2 import Reader
from short_drive import START, record

from querydiff_ros.bags.bag_reader import BagReader

STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
SUFFIX = {"mcap": ".mcap", "sqlite3": ".db3"}
ROT = 8192


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Bags by storage, of five chunks in mcap."""
    folder = tmp_path_factory.mktemp("recorded")
    return {storage: record(folder / storage, storage, size=(240, 400)) for storage in ("mcap", "sqlite3")}


@pytest.fixture
def bag(recorded, storage, tmp_path):
    return shutil.copytree(recorded[storage], tmp_path / "bag")


def file_of(bag):
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    return file


def replace(file, start, end, by):
    data = bytearray(file.read_bytes())
    data[start:end] = by
    file.write_bytes(data)


def in_time(messages):
    return sorted(messages, key=lambda message: (message.time_ns, message.topic))


def lost_in_words(whole, found):
    """Say what `found` lacks, as `damage` does."""
    lost = Counter(message.topic for message in whole) - Counter(message.topic for message in found)
    return ", ".join(f"{count} of {topic}" for topic, count in sorted(lost.items()))


def without_chunk(file, number):
    """Return the n-th chunk's place in an unharmed mcap file, and the messages of all others in order of time."""
    with Reader(file) as reader:
        chunks = [(c.chunk_start_offset, c.chunk_length, sum(c.channel_count.values())) for c in reader.storage.chunks]
    first = sum(count for *_, count in chunks[:number])
    start, length, count = chunks[number]
    with file.open("rb") as stream:
        found = NonSeekingReader(stream).iter_messages(log_time_order=False)
        written = [(channel.topic, message.log_time, message.data) for _, channel, message in found]
    assert sorted(written) == sorted(BagReader(file).messages())
    left = written[:first] + written[first + count :]
    return start, length, sorted(left, key=lambda message: (message[1], message[0]))


@STORAGES
@pytest.mark.parametrize("kept", [0.999, 0.6, 0.3])
def test_a_cut_off_bag_gives_whole_messages_only(bag, kept):
    whole = list(BagReader(bag).messages())
    file = file_of(bag)
    os.truncate(file, int(file.stat().st_size * kept))
    reader = BagReader(bag)
    found = list(reader.messages())
    assert 0 < len(found) < len(whole) or kept > 0.9
    assert found == [message for message in whole if message in found]
    assert re.fullmatch(rf"{bag} is damaged \(.*\): .*{len(found)} whole messages.*\.", reader.damage)


@pytest.mark.parametrize("storage", ["mcap"])
@pytest.mark.parametrize(("chunk", "offset"), [(0, 1000), (2, 1000), (2, -20), (3, -20)])  # -20: with its header
def test_of_a_rotten_mcap_all_other_chunks_come_out_once_and_in_order(bag, chunk, offset):
    whole = list(BagReader(bag).messages())
    start, _, left = without_chunk(file_of(bag), chunk)
    replace(file_of(bag), start + offset, start + offset + ROT, bytes(ROT))
    reader = BagReader(bag)
    found = list(reader.messages())
    assert in_time(found) == left
    assert [message.time_ns for message in found] == [time_ns for _, time_ns, _ in left]
    assert f": it still holds {len(left)} whole messages, lost are {lost_in_words(whole, found)}." in reader.damage
    assert list(reader.messages(["/front/image"])) == [each for each in left if each[0] == "/front/image"]


@pytest.mark.parametrize("storage", ["mcap"])
@pytest.mark.parametrize("chunk", [0, 2])
def test_a_chunk_cut_out_of_an_mcap_takes_its_own_messages_only(bag, recorded, storage, chunk):
    start, length, left = without_chunk(file_of(bag), chunk)
    replace(file_of(bag), start, start + length, b"")
    whole = list(BagReader(recorded[storage]).messages())
    reader = BagReader(bag)
    found = list(reader.messages())
    assert in_time(found) == left
    assert f"it still holds {len(left)} whole messages, lost are {lost_in_words(whole, found)}." in reader.damage


@pytest.mark.parametrize("storage", ["sqlite3"])
@pytest.mark.parametrize("at", [0.2, 0.5, 0.8])
def test_of_a_rotten_sqlite_file_every_row_that_can_be_read_comes_out(bag, at):
    whole = list(BagReader(bag).messages())
    start = int(file_of(bag).stat().st_size * at)
    replace(file_of(bag), start, start + ROT, bytes(ROT))
    query = "SELECT name, timestamp, data FROM messages NOT INDEXED JOIN topics ON topic_id = topics.id "
    left = []
    with closing(sqlite3.connect(file_of(bag))) as database:
        for number in range(1, len(whole) + 1):
            try:
                left += database.execute(f"{query} WHERE messages.id = ?", [number]).fetchall()
            except sqlite3.DatabaseError:
                continue
    reader = BagReader(bag)
    found = list(reader.messages())
    assert len(whole) - 2 <= len(left) < len(whole)  # two frames at most
    assert in_time(found) == sorted(left, key=lambda message: (message[1], message[0]))
    assert f"lost are {lost_in_words(whole, found)}." in reader.damage


@STORAGES
def test_the_files_after_a_rotten_one_are_read_in_the_order_of_their_numbers(tmp_path, storage):
    bag, *others = (record(tmp_path / f"bag_{n}", storage, (240, 400), START + n * 10**9) for n in (1, 2, 10))
    for other in others:
        shutil.move(file_of(other), bag)
    files = [f"bag_{n}{SUFFIX[storage]}" for n in (1, 2, 10)]
    metadata = (bag / "metadata.yaml").read_text()
    metadata = metadata.replace(f"- {files[0]}\n", "".join(f"- {name}\n  " for name in files).rstrip(" "), 1)
    (bag / "metadata.yaml").write_text(metadata)
    whole = list(BagReader(bag).messages())
    middle = int((bag / files[0]).stat().st_size * 0.5)
    replace(bag / files[0], middle, middle + ROT, bytes(ROT))
    reader = BagReader(bag)
    found = list(reader.messages())
    third = len(whole) // 3
    assert third / 2 < len(found) - 2 * third < third
    assert found[-2 * third :] == whole[-2 * third :]
    assert all(earlier.time_ns <= later.time_ns for earlier, later in pairwise(found))


def test_a_bag_without_metadata_is_whole_all_the_same(tmp_path):
    bag = record(tmp_path / "bag")
    whole = list(BagReader(bag).messages())
    (bag / "metadata.yaml").unlink()
    assert list(BagReader(bag).messages()) == whole
