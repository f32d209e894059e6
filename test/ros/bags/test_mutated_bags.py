"""Bags with bytes changed, deleted and inserted, or cut: they are read as far as they go, or refused in a sentence.

QUERYDIFF_MUTATIONS sets how many of each storage are tried; the suite tries few, a long run many.
"""

import os
import random
from itertools import islice

import numpy as np
import pytest
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from short_drive import START, STEP

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.bags.bag_recorder import DriveRecorder

MUTATIONS = int(os.environ.get("QUERYDIFF_MUTATIONS", "300"))
STORE = get_typestore(Stores.ROS2_JAZZY)


def recorded(folder, kind):
    """Return the one file of a bag of few and small messages."""
    bag = folder / kind
    if kind == "messages":
        plugin, compression = StoragePlugin.SQLITE3, CompressionMode.MESSAGE
        writer = Writer(bag, version=9, storage_plugin=plugin)
        writer.set_compression(compression, CompressionFormat.ZSTD)
        with writer:
            connection = writer.add_connection("/condition", "std_msgs/msg/String", typestore=STORE)
            for index in range(8):
                text = STORE.types["std_msgs/msg/String"]("fog" * index)
                writer.write(connection, START + index, STORE.serialize_cdr(text, "std_msgs/msg/String"))
    else:
        with DriveRecorder(bag, storage=kind, compressed=False) as recorder:
            for index in range(4):
                recorder.write(START + index * STEP, np.full((4, 6, 3), index, np.uint8), None, "fog")
    return next(file for file in bag.iterdir() if file.suffix in (".mcap", ".db3"))


def mutated(data, random_):
    """Return `data` with up to five bytes or stretches changed, deleted, inserted or cut away."""
    changed = bytearray(data)
    for _ in range(random_.randint(1, 5)):
        # Headers, tables and indices lie at both ends: half of all changes are made there.
        end = len(changed)
        at = random_.choice([random_.randrange(end), min(random_.randrange(600), end - 1)])
        at = random_.choice([at, end - 1 - at])
        size = random_.choice([1, 1, 2, 4, 8, 100])
        kind = random_.choice(["change", "change", "delete", "insert", "cut"])
        if kind == "change":
            changed[at : at + size] = random_.randbytes(len(changed[at : at + size]))
        elif kind == "delete":
            del changed[at : at + size]
        elif kind == "insert":
            changed[at:at] = random_.randbytes(size)
        elif random_.random() < 0.2 and at > 16:
            del changed[at:]
        changed = changed or bytearray(b"\0")
    return bytes(changed)


@pytest.mark.parametrize("kind", ["mcap", "sqlite3", "messages"])
def test_no_damage_ends_in_anything_but_messages_or_a_sentence(tmp_path, kind):
    original = recorded(tmp_path, kind)
    data, target, read = original.read_bytes(), tmp_path / f"mutated{original.suffix}", 0
    for seed in range(MUTATIONS):
        target.write_bytes(mutated(data, random.Random(seed)))
        found, said = outcome(target, seed)
        assert len(found) < 1000, f"seed {seed}"
        assert all(type(message.data) is bytes and message.time_ns >= 0 for message in found), f"seed {seed}"
        assert "\n" not in said, f"seed {seed}"
        read += bool(found)
    assert read > MUTATIONS / 10


def outcome(target, seed):
    """Return the messages of a bag, and what it says of itself."""
    try:
        bag = BagReader(target)
        return list(islice(bag.messages(), 1000)), f"{bag.damage}{bag.notes}"
    except QueryDiffError as error:
        return [], str(error)
    except Exception as error:
        raise AssertionError(f"seed {seed}") from error
