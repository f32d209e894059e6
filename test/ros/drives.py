"""Short drives whose scores are known, for tests of `evaluate_bag`."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from engines import expected_labels
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from querydiff_ros.bags.bag_recorder import DriveRecorder

STORE = get_typestore(Stores.ROS2_JAZZY)
START, STEP, SIZE = 1_700_000_000_000_000_000, 100_000_000, (48, 96)
"""First stamp and interval in nanoseconds; (height, width) of the frames."""


def picture(index: int) -> np.ndarray:
    """Return frame `index`: blocks of 8 x 8 that move, so that optical flow has something to follow."""
    world = np.random.default_rng(7).integers(0, 256, (6, 40, 3), dtype=np.uint8)
    wide = np.kron(world, np.ones((8, 8, 1), np.uint8))
    return np.ascontiguousarray(wide[:, index % 200 : index % 200 + SIZE[1]])


def record(
    path: Path,
    frames: int = 12,
    conditions: Sequence[str | None] = (None,),
    ground_truth: Callable[[int], np.ndarray | None] = lambda index: wrong_quarter(picture(index)),
    storage: str = "mcap",
    step: int = STEP,
) -> Path:
    """Record raw frames in equal stretches of `conditions`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with DriveRecorder(path, compressed=False, storage=storage) as recorder:
        for index in range(frames):
            condition = conditions[index * len(conditions) // frames]
            recorder.write(START + index * step, picture(index), ground_truth(index), condition)
    return path


def rewritten(
    source: Path, target: Path, change: Callable[[str, int, Any], Any], plugin: StoragePlugin = StoragePlugin.MCAP
) -> Path:
    """Copy a bag; `change(topic, index, message)` returns the new message, its bytes, or None to leave it out."""
    counts: dict[str, int] = {}
    with Reader(source) as reader, Writer(target, version=9, storage_plugin=plugin) as writer:
        added = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=STORE) for c in reader.connections}
        for connection, time, data in reader.messages():
            index = counts[connection.topic] = counts.get(connection.topic, -1) + 1
            message = change(connection.topic, index, STORE.deserialize_cdr(data, connection.msgtype))
            if message is not None:
                cdr = message if isinstance(message, bytes) else STORE.serialize_cdr(message, connection.msgtype)
                writer.write(added[connection.id], time, cdr)
    return target


def wrong_quarter(image: np.ndarray) -> np.ndarray:
    """Return what the pixel engine says, with a quarter of the rows of another class."""
    labels = expected_labels(image)
    labels[: len(labels) // 4] = (labels[: len(labels) // 4] + 1) % 19
    return labels


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
