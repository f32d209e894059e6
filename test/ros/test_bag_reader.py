"""Bags that were cut off, have rotted, or lost a file: what is whole comes out, and what is not is said."""

import os
import re

import pytest
from short_drive import record

from querydiff_ros.bag_reader import BagReader

STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])


@STORAGES
@pytest.mark.parametrize("kept", [0.999, 0.6, 0.3])
def test_a_cut_off_bag_gives_whole_messages_only(tmp_path, storage, kept):
    bag = record(tmp_path / "bag", storage, size=(240, 400))
    whole = list(BagReader(bag).messages())
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    os.truncate(file, int(file.stat().st_size * kept))
    reader = BagReader(bag)
    found = list(reader.messages())
    assert 0 < len(found) < len(whole) or kept > 0.9
    assert found == [message for message in whole if message in found]
    assert re.fullmatch(rf"{bag} is damaged \(.*\): .*{len(found)} whole messages.*\.", reader.damage)


@STORAGES
def test_rot_in_the_middle_ends_the_bag_with_a_sentence(tmp_path, storage):
    bag = record(tmp_path / "bag", storage, size=(240, 400))
    whole = list(BagReader(bag).messages())
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    data = bytearray(file.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 8192] = bytes(8192)
    file.write_bytes(data)
    reader = BagReader(bag)
    found = list(reader.messages())
    assert found == whole[: len(found)]
    assert len(found) < len(whole)
    assert "is damaged" in reader.damage


def test_a_bag_without_metadata_is_whole_all_the_same(tmp_path):
    bag = record(tmp_path / "bag")
    whole = list(BagReader(bag).messages())
    (bag / "metadata.yaml").unlink()
    assert list(BagReader(bag).messages()) == whole
