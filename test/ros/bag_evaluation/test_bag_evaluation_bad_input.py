"""What is wrong with a bag is one sentence, and what a damaged bag still holds is judged."""

import os
import shutil
import sqlite3

import numpy as np
import pytest
from drives import START, STEP, picture, record, rewritten
from engines import expected_labels
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.segmenter import Segmenter
from querydiff_ros.bag_evaluation.bag_results import BagResults
from querydiff_ros.bags.bag_recorder import DriveRecorder
from querydiff_ros.cli import evaluate_bag

STORE = get_typestore(Stores.ROS2_JAZZY)
STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])


@pytest.fixture
def evaluate(tmp_path, pixel_engine):
    def run(*arguments):
        words = [
            *map(str, arguments),
            "--model",
            str(pixel_engine),
            "--output",
            str(tmp_path / "result.json"),
            "--again",
        ]
        assert evaluate_bag.main(words) == 0
        return Result.load(tmp_path / "result.json")

    return run


def noisy(path, frames, storage):
    """Record frames that do not compress, so that a bag has several chunks."""
    random = np.random.default_rng(0)
    with DriveRecorder(path, compressed=False, storage=storage) as recorder:
        for index in range(frames):
            image = random.integers(0, 256, (240, 400, 3), dtype=np.uint8)
            recorder.write(START + index * STEP, image, expected_labels(image))
    return path


def with_ground_truth(source, target, **fields):
    """Copy a bag and set fields of its label images."""

    def change(topic, index, message):
        if topic.endswith("ground_truth"):
            for name, value in fields.items():
                setattr(message, name, value)
        return message

    return rewritten(source, target, change)


def sentence(evaluate, *arguments):
    with pytest.raises(QueryDiffError) as error:
        evaluate(*arguments)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_a_bag_without_the_topic_says_what_it_has_of_what_type(tmp_path, evaluate):
    bag = record(tmp_path / "bag", 2)
    said = sentence(evaluate, bag, "--image", "/rear/image")
    assert "has no topic /rear/image of type sensor_msgs/msg/Image or sensor_msgs/msg/CompressedImage" in said
    assert "/front/camera_info (sensor_msgs/msg/CameraInfo), /front/image (sensor_msgs/msg/Image)" in said
    assert "no topic /front/camera_info of type" in sentence(evaluate, bag, "--ground-truth", "/front/camera_info")
    bare = rewritten(bag, tmp_path / "bare", lambda topic, _, message: message if "info" in topic else None)
    assert "it has /front/camera_info (sensor_msgs/msg/CameraInfo)." in sentence(evaluate, bare)


def test_stamps_that_do_not_overlap(tmp_path, evaluate):
    def later(topic, index, message):
        if topic.endswith("ground_truth"):
            message.header.stamp.sec += 3600
        return message

    said = sentence(evaluate, rewritten(record(tmp_path / "bag", 3), tmp_path / "late", later))
    assert (
        "none of /front/label_ground_truth (1700003600.000 to 1700003600.200 s) and /front/image (1700000000.0" in said
    )
    assert "are stamped within 0.02 s and recorded within 10 s of each other: give more --tolerance, or" in said


def test_label_images_of_another_size_encoding_or_class_set(tmp_path, evaluate):
    bag = record(tmp_path / "bag", 2)
    small = with_ground_truth(bag, tmp_path / "small", height=24, data=np.zeros(24 * 96, np.uint8))
    assert "label images of 96x24 and its camera has images of 96x48" in sentence(evaluate, small)
    colors = with_ground_truth(bag, tmp_path / "colors", encoding="rgb8", step=288, data=np.zeros(48 * 288, np.uint8))
    assert "has encoding 'rgb8': expected mono8" in sentence(evaluate, colors)
    foreign = with_ground_truth(bag, tmp_path / "foreign", data=np.full(48 * 96, 77, np.uint8))
    assert "the mapping train_ids does not have: 77 (4608 pixels); choose another --mapping" in sentence(
        evaluate, foreign
    )
    short = with_ground_truth(bag, tmp_path / "short", data=np.zeros(100, np.uint8))
    assert "label_ground_truth is truncated: 100 bytes, but 48 rows of 96 bytes make 4608." in sentence(evaluate, short)


def test_half_the_labels_missing_is_half_the_frames_scored(tmp_path, evaluate):
    bag = record(
        tmp_path / "bag", 10, ground_truth=lambda index: expected_labels(picture(index)) if index % 2 else None
    )
    result = evaluate(bag)
    assert (result.data[0]["frames"], result.data[0]["frames_with_ground_truth"]) == (10, 5)
    assert (result.domains[0].images, result.domains[0].miou) == (5, 1.0)


@STORAGES
def test_a_truncated_bag_gives_what_it_holds_and_says_so(tmp_path, evaluate, storage, capsys):
    bag = noisy(tmp_path / "bag", 12, storage)
    (file,) = (path for path in bag.iterdir() if path.suffix in (".mcap", ".db3"))
    os.truncate(file, int(file.stat().st_size * 0.6))
    result = evaluate(bag)
    (entry,) = result.data
    assert 0 < entry["frames_labelled"] < 12
    assert result.domains[0].miou == 1.0
    assert "is damaged" in entry["damage"]
    assert f"warning: {entry['damage']}\n" in capsys.readouterr().err


def test_a_bag_that_lost_one_of_its_files_gives_the_others(tmp_path, evaluate, capsys):
    bag = record(tmp_path / "bag", 6)
    second = record(tmp_path / "second", 6, step=2 * STEP)
    shutil.move(second / "second.mcap", bag / "bag_1.mcap")
    text = (bag / "metadata.yaml").read_text()
    (bag / "metadata.yaml").write_text(text.replace("- bag.mcap\n", "- bag.mcap\n  - bag_2.mcap\n"))
    result = evaluate(bag)
    assert "bag_2.mcap" in result.data[0]["damage"]
    assert result.data[0]["frames_labelled"] >= 6
    assert "is damaged" in capsys.readouterr().err


@pytest.mark.parametrize("journal", ["memory", "wal"])
def test_a_sqlite_file_that_is_still_being_written_gives_what_is_there(tmp_path, evaluate, journal):
    bag = record(tmp_path / "bag", 6, storage="sqlite3")
    (bag / "metadata.yaml").unlink()  # the recorder writes it at the end
    recorder = sqlite3.connect(next(bag.glob("*.db3")))
    late = recorder.execute("SELECT * FROM messages WHERE timestamp >= ?", [START + 4 * STEP]).fetchall()
    recorder.execute("DELETE FROM messages WHERE timestamp >= ?", [START + 4 * STEP])
    recorder.commit()
    recorder.execute(f"PRAGMA journal_mode={journal}")
    half = len(late) // 2  # of these two frames one is committed, the other is not
    recorder.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", late[:half])
    recorder.commit()
    recorder.executemany("INSERT INTO messages VALUES (?, ?, ?, ?)", late[half:])
    try:
        result = evaluate(bag)
    finally:
        recorder.close()
    assert result.data[0]["frames_labelled"] == 5
    assert "metadata" in result.data[0]["damage"]


def test_bags_that_grow_during_a_run_are_in_its_sum_and_judged_again_by_the_next(tmp_path, pixel_engine, monkeypatch):
    """The first run skips none and one grows while it is judged; the second skips the other, and both grow."""
    files = [noisy(tmp_path / "drives" / name, 12, "mcap") / f"{name}.mcap" for name in ("a", "b")]
    whole = {file: file.read_bytes() for file in files}

    def frames_of_run(owner, method, quarters):
        """Evaluate both bags; before the method is called, files grow to so many quarters."""
        call = getattr(owner, method)

        def grown(*arguments):
            for file, share in quarters.items():
                with file.open("ab") as stream:
                    stream.write(whole[file][stream.tell() : share * len(whole[file]) // 4])
            return call(*arguments)

        with monkeypatch.context() as patched:
            patched.setattr(owner, method, grown)
            words = [str(tmp_path / "drives"), "--model", str(pixel_engine), "--output", str(tmp_path / "result.json")]
            assert evaluate_bag.main(words) == 0
        return [(entry["bag"], entry["frames"]) for entry in Result.load(tmp_path / "result.json").data]

    for file in files:
        (file.parent / "metadata.yaml").unlink()  # the recorder writes it at the end
        os.truncate(file, len(whole[file]) // 4)
    a, b = files
    assert frames_of_run(Segmenter, "__call__", {a: 2}) == [("a", 3), ("b", 3)]
    assert frames_of_run(BagResults, "merge", {a: 3, b: 3}) == [("a", 6), ("b", 3)]


def test_frames_that_cannot_be_read_are_counted_with_the_reason(tmp_path, evaluate, capsys):
    def spoil(topic, index, message):
        if topic == "/front/image" and index in (1, 3):
            message.encoding = "no such encoding"
        return message

    result = evaluate(rewritten(record(tmp_path / "bag", 5), tmp_path / "spoilt", spoil))
    assert (result.data[0]["frames"], result.data[0]["frames_rejected"]) == (3, 2)
    assert "2 of 5 frames cannot be used: the first /front/image" in capsys.readouterr().err


@pytest.mark.parametrize("size", [4, 60])
def test_rotten_messages_of_ground_truth_and_condition_are_passed_over_and_counted(tmp_path, evaluate, size, capsys):
    def rot(topic, index, message):
        kind = {"/front/label_ground_truth": "sensor_msgs/msg/Image", "/condition": "std_msgs/msg/String"}.get(topic)
        if kind is None or (index not in (0, 3) and kind.startswith("sensor")):
            return message
        return STORE.serialize_cdr(message, kind).tobytes()[: 4 if topic == "/condition" else size]

    result = evaluate(rewritten(record(tmp_path / "bag", 5, ["fog"]), tmp_path / "rotten", rot))
    (entry,) = result.data
    assert (entry["frames"], entry["frames_with_ground_truth"], entry["frames_rejected"]) == (5, 3, 0)
    assert list(entry["conditions"]) == ["unknown"]
    said = "passed over, as they cannot be read, are 1 of /condition, 2 of /front/label_ground_truth."
    assert said in capsys.readouterr().err


def test_frames_that_repeat_a_stamp_are_told_apart_by_the_time_of_recording(tmp_path, evaluate):
    def repeat(topic, index, message):
        if index == 2 and topic == "/front/image":
            message.header.stamp.nanosec -= STEP
        return message

    result = evaluate(rewritten(record(tmp_path / "bag", 4), tmp_path / "repeats", repeat))
    assert (result.data[0]["frames"], result.data[0]["frames_rejected"]) == (4, 0)


def test_what_is_no_bag(tmp_path, evaluate):
    assert "No bag" in sentence(evaluate, tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "is no bag and holds none" in sentence(evaluate, tmp_path / "empty")
    (tmp_path / "x.mcap").write_bytes(b"\x89MCAP0\r\n")
    assert "x.mcap" in sentence(evaluate, tmp_path / "x.mcap")


def test_wrong_words(tmp_path, evaluate):
    bag = record(tmp_path / "bag", 2)
    assert "give --online too" in sentence(evaluate, bag, "--lockstep")
    assert "No label mapping nonsense" in sentence(evaluate, bag, "--mapping", "nonsense")
    with pytest.raises(QueryDiffError, match="No model file"):
        evaluate_bag.main([str(bag), "--model", "no.onnx", "--output", str(tmp_path / "result.json")])


def test_frames_whose_stamps_were_never_set_are_judged_by_the_time_of_recording(tmp_path, evaluate):
    def unset(topic, index, message):
        if hasattr(message, "header"):
            message.header.stamp.sec = message.header.stamp.nanosec = 0
        return message

    bag = record(tmp_path / "bag", 6, ground_truth=lambda index: expected_labels(picture(index)))
    (entry,) = (result := evaluate(rewritten(bag, tmp_path / "unset", unset))).data
    assert (entry["frames"], entry["frames_labelled"], entry["frames_with_ground_truth"]) == (6, 6, 6)
    assert result.domains[0].miou == 1.0


def test_stamps_that_begin_again_begin_a_new_run(tmp_path, evaluate):
    def again(topic, index, message):
        if hasattr(message, "header"):
            message.header.stamp.sec, message.header.stamp.nanosec = 1 + index % 5, 0
        return None if topic.endswith("ground_truth") and index in (2, 3) else message

    bag = record(tmp_path / "bag", 10, ground_truth=lambda index: expected_labels(picture(index)))
    (entry,) = (result := evaluate(rewritten(bag, tmp_path / "twice", again))).data
    assert (entry["frames"], entry["frames_with_ground_truth"]) == (10, 8)
    assert result.domains[0].miou == 1.0  # never a frame of one run with the truth of the other


def renamed(source, target, names):
    """Copy a bag; `names` maps its topics to those that each is written as, with the encoding of the images."""
    with Reader(source) as reader, Writer(target, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        added = {
            (c.id, name): writer.add_connection(name, c.msgtype, typestore=STORE)
            for c in reader.connections
            for name in names.get(c.topic, {})
        }
        for connection, time, data in reader.messages():
            for name, encoding in names.get(connection.topic, {}).items():
                message = STORE.deserialize_cdr(data, connection.msgtype)
                message.encoding = encoding
                writer.write(added[connection.id, name], time, STORE.serialize_cdr(message, connection.msgtype))
    return target


def test_of_several_cameras_the_one_in_colour_is_judged_and_the_others_are_named(tmp_path, evaluate, capsys):
    names = {"/a/depth/image": "16UC1", "/b/infra1/image": "mono8", "/c/left/image": "rgb8", "/d/right/image": "rgb8"}
    bag = renamed(record(tmp_path / "bag", 2), tmp_path / "several", {"/front/image": names})
    assert evaluate(bag).data[0]["image"] == "/c/left/image"
    said = capsys.readouterr().err
    assert "/c/left/image is judged; --image names another camera, such as /d/right/image, /b/infra1/image." in said


def test_depth_alone_is_never_judged_unasked(tmp_path, evaluate):
    bag = renamed(record(tmp_path / "bag", 2), tmp_path / "depth", {"/front/image": {"/a/depth/image": "16UC1"}})
    assert "has no images of a colour camera, only /a/depth/image: name one with --image." in sentence(evaluate, bag)


def test_the_semantic_camera_of_carla_is_ground_truth(tmp_path, evaluate):
    with DriveRecorder(tmp_path / "bag", camera="carla/hero/rgb_front", compressed=False) as recorder:
        for index in range(3):
            recorder.write(START + index * STEP, np.full((32, 64, 3), 10, np.uint8), np.full((32, 64), 10, np.uint8))

    def painted(topic, index, message):  # trainId 10 is sky, CARLA's tag 11
        if topic.endswith("ground_truth"):
            tags = np.zeros((32, 64, 4), np.uint8)
            tags[..., 2], tags[..., 3] = 11, 255
            message.encoding, message.step, message.data = "bgra8", 256, tags.reshape(-1)
        return message

    bag = rewritten(tmp_path / "bag", tmp_path / "tags", painted)
    truth = "/carla/hero/semantic_segmentation_front/image"
    files = {"/carla/hero/rgb_front/image": {"/carla/hero/rgb_front/image": "rgb8"}}
    files["/carla/hero/rgb_front/label_ground_truth"] = {truth: "bgra8"}
    result = evaluate(renamed(bag, tmp_path / "carla", files), "--mapping", "carla")
    assert result.data[0]["ground_truth"] == truth
    assert (result.data[0]["frames_with_ground_truth"], result.domains[0].miou) == (3, 1.0)


def test_a_bag_of_which_nothing_can_be_judged_is_a_failure(tmp_path, pixel_engine, capsys):
    def spoil(topic, index, message):
        if topic == "/front/image":
            message.encoding = "no such encoding"
        return message

    bag = rewritten(record(tmp_path / "bag", 2), tmp_path / "spoilt", spoil)
    words = [str(bag), "--model", str(pixel_engine), "--output", str(tmp_path / "result.json")]
    assert evaluate_bag.main(words) == 1
    assert "no frame could be judged" in capsys.readouterr().err
