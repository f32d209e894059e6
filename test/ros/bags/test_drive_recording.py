"""Bags that the recorder and `querydiff record-drive` write, read by an independent reader."""

import os

import cv2
import numpy as np
import pytest
import yaml
from paths import CAMVID
from rclpy.serialization import deserialize_message
from rosbags.interfaces import QosDurability
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping
from querydiff_ros.bags.bag_recorder import DriveRecorder
from querydiff_ros.cli import record_drive

CAMVID_VAL = CAMVID / "val"
STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
CLASSES = {"image": Image, "image/compressed": CompressedImage, "camera_info": CameraInfo, "label_ground_truth": Image}


def frames(count, size=(24, 40)):
    random = np.random.default_rng(0)
    for index in range(count):
        image = cv2.resize(random.integers(0, 256, (3, 5, 3), dtype=np.uint8), size[::-1])
        yield 1_000_000_000_123_456_789 + index * 100_000_000, image, random.integers(0, 19, size, dtype=np.uint8)


def read(bag):
    """Return [(topic, bag time, message)] through rosbags' reader and rclpy's own deserialisation."""
    found = []
    with Reader(bag) as reader:
        for connection, time_ns, data in reader.messages():
            kind = String if connection.topic == "/condition" else CLASSES[connection.topic.partition("/front/")[2]]
            found.append((connection.topic, time_ns, deserialize_message(bytes(data), kind)))
    return found


def stamp_ns(message):
    return message.header.stamp.sec * 10**9 + message.header.stamp.nanosec


@STORAGES
def test_raw_frames_come_back_exactly(tmp_path, storage):
    with DriveRecorder(tmp_path / "bag", storage=storage, compressed=False) as recorder:
        for stamp, image, labels in frames(12):
            recorder.write(stamp, image, labels, "fog")
    messages = read(tmp_path / "bag")
    for index, (stamp, image, labels) in enumerate(frames(12)):
        of_frame = {topic: message for topic, time, message in messages if time == stamp}
        assert of_frame.keys() >= {"/front/image", "/front/camera_info", "/front/label_ground_truth"}
        assert ("/condition" in of_frame) == (index == 0)
        picture, truth = of_frame["/front/image"], of_frame["/front/label_ground_truth"]
        assert (picture.encoding, truth.encoding) == ("rgb8", "mono8")
        np.testing.assert_array_equal(
            np.asarray(picture.data).reshape(24, picture.step)[:, :120], image.reshape(24, -1)
        )
        np.testing.assert_array_equal(np.asarray(truth.data).reshape(24, 40), labels)
        stamped = [of_frame[topic] for topic in of_frame if topic != "/condition"]
        assert {stamp_ns(message) for message in stamped} == {stamp}
        assert {message.header.frame_id for message in stamped} == {"front"}


@STORAGES
def test_jpeg_frames_and_latched_conditions(tmp_path, storage):
    conditions = ["clear", "clear", "fog", "fog", "clear"]
    with DriveRecorder(tmp_path / "bag", storage=storage) as recorder:
        for (stamp, image, _), condition in zip(frames(5), conditions, strict=True):
            recorder.write(stamp, image, condition=condition)
    messages = read(tmp_path / "bag")
    assert {topic for topic, *_ in messages} == {"/condition", "/front/camera_info", "/front/image/compressed"}
    stamps = [stamp for stamp, *_ in frames(5)]
    said = [(time, message.data) for topic, time, message in messages if topic == "/condition"]
    assert said == [(stamps[0], "clear"), (stamps[2], "fog"), (stamps[4], "clear")]
    pictures = [message for topic, _, message in messages if topic == "/front/image/compressed"]
    for picture, (_, image, _) in zip(pictures, frames(5), strict=True):
        decoded = cv2.imdecode(np.frombuffer(picture.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
        assert np.abs(decoded.astype(int) - image).mean() < 4
    with Reader(tmp_path / "bag") as reader:
        latched = {
            connection.topic
            for connection in reader.connections
            if connection.ext.offered_qos_profiles[0].durability is QosDurability.TRANSIENT_LOCAL
        }
    assert latched == {"/condition"}
    stated = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    profiles = [each["topic_metadata"]["offered_qos_profiles"] for each in stated["topics_with_message_count"]]
    assert all(isinstance(profile, str) for profile in profiles)  # Humble's tools read no list


def test_camera_info_is_a_pinhole_looking_through_the_centre(tmp_path):
    with DriveRecorder(tmp_path / "bag") as recorder:
        recorder.write(1, np.zeros((100, 200, 3), np.uint8))
        recorder.write(2, np.zeros((100, 200, 3), np.uint8), focal_length=150.0)
    first, second = (message for topic, _, message in read(tmp_path / "bag") if topic == "/front/camera_info")
    assert (first.width, first.height, first.distortion_model) == (200, 100, "plumb_bob")
    np.testing.assert_array_equal(first.k, [200, 0, 99.5, 0, 200, 49.5, 0, 0, 1])
    np.testing.assert_array_equal(second.p, [150, 0, 99.5, 0, 0, 150, 49.5, 0, 0, 0, 1, 0])
    np.testing.assert_array_equal(first.r, np.eye(3).ravel())
    assert not np.any(first.d)


def test_a_failure_leaves_nothing(tmp_path):
    def record_and_fail():
        with DriveRecorder(tmp_path / "bag") as recorder:
            recorder.write(1, np.zeros((8, 8, 3), np.uint8))
            recorder.write(2, np.zeros((8, 8, 3), np.uint8), np.zeros((8, 9), np.uint8))

    with pytest.raises(QueryDiffError, match=r"image is \(8, 8\) and its labels are \(8, 9\)"):
        record_and_fail()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_there_until_the_end(tmp_path):
    with DriveRecorder(tmp_path / "bag") as recorder:
        recorder.write(1, np.zeros((8, 8, 3), np.uint8))
        assert not (tmp_path / "bag").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["bag"]


def test_wrong_arguments_are_one_sentence(tmp_path):
    for arguments in ({"camera": "9 front"}, {"camera": ""}, {"storage": "hdf5"}):
        with pytest.raises(QueryDiffError, match=r"expected"):
            DriveRecorder(tmp_path / "bag", **arguments)
    (tmp_path / "taken").mkdir()
    with pytest.raises(QueryDiffError, match=r"taken exists already"):
        DriveRecorder(tmp_path / "taken").__enter__()
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(QueryDiffError, match=r"Cannot write .*file"):
        DriveRecorder(tmp_path / "file" / "bag").__enter__()


@STORAGES
def test_the_command_records_a_folder(tmp_path, storage, capsys):
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
    mapping, values = label_mapping("camvid"), np.arange(12, dtype=np.uint8).reshape(3, 4)
    for stem in ("b", "a"):
        cv2.imwrite(str(tmp_path / "images" / f"{stem}.png"), np.full((3, 4, 3), ord(stem), np.uint8))
        cv2.imwrite(str(tmp_path / "labels" / f"{stem}_L.png"), values)
    arguments = ["--mapping", "camvid", "--rate", "4", "--raw", "--condition", "rain", "--storage", storage]
    assert record_drive.main([str(tmp_path), str(tmp_path / "bag"), *arguments]) == 0
    assert "2 labelled frames at 4 Hz" in capsys.readouterr().out
    messages = read(tmp_path / "bag")
    pictures = [(time, message.data[0]) for topic, time, message in messages if topic == "/front/image"]
    assert [shade for _, shade in pictures] == [ord("a"), ord("b")]
    assert pictures[1][0] - pictures[0][0] == 250_000_000
    truths = [message for topic, _, message in messages if topic == "/front/label_ground_truth"]
    np.testing.assert_array_equal(np.asarray(truths[0].data).reshape(3, 4), mapping(values))
    assert [message.data for topic, _, message in messages if topic == "/condition"] == ["rain"]


@pytest.mark.skipif(not CAMVID_VAL.is_dir(), reason=f"CamVid is not at {os.path.relpath(CAMVID_VAL)}")
def test_camvid_becomes_a_bag(tmp_path):
    assert record_drive.main([str(CAMVID_VAL), str(tmp_path / "bag"), "--mapping", "camvid"]) == 0
    images = sorted((CAMVID_VAL / "images").iterdir())
    messages = read(tmp_path / "bag")
    truths = [message for topic, _, message in messages if topic == "/front/label_ground_truth"]
    assert len(truths) == len(images)
    values = cv2.imread(str(CAMVID_VAL / "labels" / f"{images[-1].stem}.png"), cv2.IMREAD_UNCHANGED)
    np.testing.assert_array_equal(np.asarray(truths[-1].data).reshape(values.shape), label_mapping("camvid")(values))
