"""Long bags stream: memory does not grow with them. QUERYDIFF_BAG_FRAMES=10000 makes the drive as long as that."""

import os
import time

import numpy as np
import psutil
import pytest
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.utils.image_files import encode_jpeg
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import find_bags
from querydiff_ros.bag_evaluation.evaluate_bag import evaluate_bag
from querydiff_ros.bags.bag_recorder import STORAGES

FRAMES = int(os.environ.get("QUERYDIFF_BAG_FRAMES", "160"))
SIZE = (1080, 1920)
STEP = 33_333_333
MEGABYTE = 2**20


class ZeroCostEngine:
    """An engine that answers every image with the same arrays, and notes how much memory the process holds."""

    name, device, has_confidence = "nothing", "cpu", True
    metadata = ModelMetadata(variant="nothing", input_size=SIZE, mean=(0.0,) * 3, std=(1.0,) * 3)

    def __init__(self):
        self.memory = []
        self._answer = np.zeros((1, *SIZE), np.uint8), np.full((1, *SIZE), 128, np.uint8)

    def __call__(self, images):
        self.memory.append(psutil.Process().memory_info().rss)
        return self._answer

    def close(self):
        pass


def record_long_drive(path, plugin: StoragePlugin):
    """Record 1080p JPEG frames; a few pictures in turn, for encoding each would take longer than the test."""
    store = get_typestore(Stores.ROS2_JAZZY)
    kind = "sensor_msgs/msg/CompressedImage"
    ramp = np.add.outer(np.arange(1080), np.arange(1920)).astype(np.uint8)
    pictures = [encode_jpeg(np.dstack([np.roll(ramp, 4 * index, 1)] * 3)) for index in range(8)]
    with Writer(path, version=9, storage_plugin=plugin) as writer:
        connection = writer.add_connection("/front/image/compressed", kind, typestore=store)
        for index in range(FRAMES):
            stamp = 10**18 + index * STEP
            header = store.types["std_msgs/msg/Header"](
                stamp=store.types["builtin_interfaces/msg/Time"](*divmod(stamp, 10**9)), frame_id="front"
            )
            message = store.types[kind](header=header, format="jpeg", data=pictures[index % 8])
            writer.write(connection, stamp, store.serialize_cdr(message, kind))
    return path


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_memory_stays_flat(tmp_path, storage):
    (source,) = find_bags([record_long_drive(tmp_path / "bag", STORAGES[storage])])
    engine, began = ZeroCostEngine(), time.monotonic()
    outcome = evaluate_bag(source, BagOptions(), Segmenter(engine))
    memory = engine.memory
    assert outcome.result.data[0]["frames_labelled"] == FRAMES == len(memory)
    warm, later = max(memory[: FRAMES // 2]), max(memory[FRAMES // 2 :])
    print(
        f"{FRAMES} frames in {time.monotonic() - began:.0f} s; RSS in MiB: first {memory[0] / MEGABYTE:.0f}, half way "
        f"{warm / MEGABYTE:.0f}, then {later / MEGABYTE:.0f}"
    )
    assert later - warm < 24 * MEGABYTE  # four frames; the second half has 80 or more
