"""What is handed on as a bag: every kind is read, or named for what it is; metadata is checked by the files."""

import json
import shutil

import numpy as np
import pytest
import yaml
import zstandard
from mcap.writer import Writer as McapWriter
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from short_drive import COUNT, START, STEP, record

from querydiff_core.errors import QueryDiffError
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.bags.bag_recorder import DriveRecorder

STORE = get_typestore(Stores.ROS2_JAZZY)
PLUGINS = pytest.mark.parametrize("plugin", [StoragePlugin.MCAP, StoragePlugin.SQLITE3])


def text(index):
    return STORE.serialize_cdr(STORE.types["std_msgs/msg/String"](f"fog {index}"), "std_msgs/msg/String")


def compressed(folder, plugin, mode):
    """Record four messages that rosbag2 compresses itself."""
    writer = Writer(folder, version=9, storage_plugin=plugin)
    writer.set_compression(mode, CompressionFormat.ZSTD)
    with writer:
        connection = writer.add_connection("/condition", "std_msgs/msg/String", typestore=STORE)
        for index in range(4):
            writer.write(connection, START + index, text(index))
    return folder


def by_hand(file, channels, profile="ros2", chunks=True):
    """Write an mcap of a message for each (topic, type, encoding, data)."""
    with file.open("wb") as stream:
        writer = McapWriter(stream, use_chunking=chunks)
        writer.start(profile=profile, library="test")
        for number, (topic, kind, encoding, data) in enumerate(channels):
            schema = writer.register_schema(kind, "ros2msg", b"")
            channel = writer.register_channel(topic, encoding, schema)
            writer.add_message(channel, START + number, data, START + number)
        writer.finish()
    return file


def data_of(bag):
    return [bytes(message.data) for message in BagReader(bag).messages()]


@PLUGINS
@pytest.mark.parametrize("mode", [CompressionMode.MESSAGE, CompressionMode.FILE])
def test_what_rosbag2_compressed_is_read_with_and_without_its_metadata(tmp_path, plugin, mode):
    bag = compressed(tmp_path / "bag", plugin, mode)
    expected = [bytes(text(index)) for index in range(4)]
    assert data_of(bag) == expected
    assert BagReader(bag).damage is None
    (file,) = (path for path in bag.iterdir() if path.name != "metadata.yaml")
    assert data_of(file) == expected
    (bag / "metadata.yaml").unlink()
    assert data_of(bag) == expected
    assert "has no metadata.yaml" in BagReader(bag).damage
    assert "damaged" not in BagReader(bag).damage


def test_half_a_compressed_file_gives_what_it_holds(tmp_path):
    whole = tmp_path / "bag"
    with DriveRecorder(whole, compressed=False) as recorder:
        for index in range(8):  # noise, of which two chunks come
            noise = np.random.default_rng(index).integers(0, 256, (240, 400, 3), np.uint8)
            recorder.write(START + index * STEP, noise)
    (file,) = whole.glob("*.mcap")
    packed = zstandard.compress(file.read_bytes())
    half = tmp_path / "half.mcap.zstd"
    half.write_bytes(packed[: len(packed) * 2 // 3])
    bag = BagReader(half)
    assert 0 < len(list(bag.messages())) < len(data_of(whole))
    assert "is damaged" in bag.damage


def test_metadata_of_a_newer_version_or_other_quality_of_service_changes_nothing(tmp_path):
    bag = record(tmp_path / "bag")
    whole = data_of(bag)
    metadata = yaml.safe_load((bag / "metadata.yaml").read_text())
    stated = metadata["rosbag2_bagfile_information"]
    stated["version"], stated["something_new"] = 12, {"a": [1]}
    for topic in stated["topics_with_message_count"]:
        topic["topic_metadata"]["offered_qos_profiles"] = []
    (bag / "metadata.yaml").write_text(yaml.safe_dump(metadata))
    reader = BagReader(bag)
    assert [bytes(message.data) for message in reader.messages()] == whole
    assert (reader.damage, reader.notes) == (None, [])
    assert reader.topics["/condition"].latched  # as the file says


def test_a_file_that_metadata_does_not_list_is_named_and_read_too(tmp_path):
    bag, other = record(tmp_path / "bag"), record(tmp_path / "other", start=START + 10**9)
    shutil.move(other / "other.mcap", bag / "bag_1.mcap")
    reader = BagReader(bag)
    assert len(list(reader.messages())) == 2 * (3 * COUNT + 2)
    assert (reader.damage, reader.notes) == (
        None,
        [f"{bag}: bag_1.mcap, which its metadata.yaml does not list, is read too."],
    )


def test_metadata_that_states_more_than_the_files_hold_is_found_out_at_once(tmp_path):
    bag = record(tmp_path / "bag")
    lines = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(lines.replace(f"message_count: {COUNT}\n", f"message_count: {COUNT + 5}\n"))
    damage = BagReader(bag).damage
    assert f"it still holds {3 * COUNT + 2} whole messages, lost are 5 of /front/" in damage


@pytest.mark.parametrize("chunks", [True, False])
@pytest.mark.parametrize("profile", ["ros2", ""])
def test_messages_of_other_kinds_are_named_and_the_rest_is_read(tmp_path, profile, chunks):
    odd = [
        ("/odom", "nav.Pose", "json", json.dumps({"x": 1}).encode()),
        ("/lidar", "foxglove.PointCloud", "protobuf", b"\x08\x01"),
        ("/old", "sensor_msgs/Image", "ros1", bytes(40)),
        ("/front/image", "sensor_msgs/msg/Image", "json", b"{}"),
    ]
    file = by_hand(
        tmp_path / "mixed.mcap", [("/condition", "std_msgs/msg/String", "cdr", bytes(text(0))), *odd], profile, chunks
    )
    bag = BagReader(file)
    assert [(message.topic, message.data) for message in bag.messages()] == [("/condition", bytes(text(0)))]
    assert bag.damage is None
    (note,) = bag.notes
    for name in ("/odom (json", "/lidar (protobuf", "/old (ROS 1 sensor_msgs/Image", "/front/image (json"):
        assert name in note
    alone = by_hand(tmp_path / "alone.mcap", odd, profile, chunks)
    with pytest.raises(QueryDiffError, match=r"Nothing in it can be read.*/old \(ROS 1") as error:
        BagReader(alone)
    assert "damaged" not in str(error.value)


def test_a_topic_of_two_types_is_read_as_the_first(tmp_path):
    channels = [("/a", "std_msgs/msg/String", "cdr", bytes(text(0))), ("/a", "std_msgs/msg/Bool", "cdr", b"\0\1\0\0\1")]
    bag = BagReader(by_hand(tmp_path / "two.mcap", channels))
    assert [message.data for message in bag.messages()] == [bytes(text(0))]
    assert "/a (std_msgs/msg/Bool beside std_msgs/msg/String)" in bag.notes[0]


def test_a_bag_of_ros_1_is_named_with_the_way_to_convert_it(tmp_path):
    file = tmp_path / "drive.bag"
    file.write_bytes(b"#ROSBAG V2.0\n" + bytes(200))
    with pytest.raises(QueryDiffError, match=r"drive\.bag is a bag of ROS 1: convert it with rosbags-convert --src"):
        BagReader(file)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_files_that_overlap_are_read_in_order_of_time(tmp_path, storage):
    bag = record(tmp_path / "bag_0", storage)
    other = record(tmp_path / "bag_1", storage, start=START + STEP // 2)
    suffix = ".mcap" if storage == "mcap" else ".db3"
    shutil.move(other / f"bag_1{suffix}", bag / f"bag_1{suffix}")
    times = [message.time_ns for message in BagReader(bag).messages()]
    assert times == sorted(times)
    assert len(times) == 2 * (3 * COUNT + 2)


def test_a_message_of_an_impossible_time_is_lost_and_the_others_are_not(tmp_path):
    file = tmp_path / "late.mcap"
    with file.open("wb") as stream:
        writer = McapWriter(stream)
        writer.start("ros2", "test")
        channel = writer.register_channel("/a", "cdr", writer.register_schema("std_msgs/msg/String", "ros2msg", b""))
        for time in (START, 2**62, START + 1):
            writer.add_message(channel, time, bytes(text(0)), time)
        writer.finish()
    bag = BagReader(file)
    assert [message.time_ns for message in bag.messages()] == [START, START + 1]
    assert "it still holds 2 whole messages, lost are 1 of /a." in bag.damage
