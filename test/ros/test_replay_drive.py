"""Replay through the real executable over real DDS: the bytes, the order, lockstep, and what goes wrong."""

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import BEST_EFFORT
from engines import expected_labels
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from querydiff_ros.bag_reader import BagReader
from querydiff_ros.cli import record_drive
from querydiff_ros.drive_recording import FIRST_STAMP_NS, DriveRecorder

CAMVID = Path(__file__).parents[3] / "shared" / "data" / "camvid" / "val"
START, STEP, COUNT, SIZE = 1_700_000_000_000_000_000, 50_000_000, 12, (24, 40)
STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
EVERYTHING = QoSProfile(depth=1000, reliability=ReliabilityPolicy.RELIABLE)
EVERYTHING_BEST_EFFORT = QoSProfile(depth=1000, reliability=ReliabilityPolicy.BEST_EFFORT)
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TYPES = {
    "/condition": String,
    "/front/camera_info": CameraInfo,
    "/front/image": Image,
    "/front/label_ground_truth": Image,
}


def image(index):
    return np.random.default_rng(index).integers(0, 256, (*SIZE, 3), dtype=np.uint8)


def record(path, storage="mcap", size=SIZE):
    with DriveRecorder(path, storage=storage, compressed=False) as recorder:
        for index in range(COUNT):
            pixels = np.resize(image(index), (*size, 3))
            recorder.write(START + index * STEP, pixels, pixels[..., 1] % 19, "clear" if index < 6 else "fog")
    return path


@pytest.fixture
def bag(tmp_path):
    return record(tmp_path / "bag")


class Replay:
    """The executable, run while a peer keeps spinning."""

    def __init__(self, peer, *arguments):
        command = [str(Path(sys.executable).with_name("replay_drive")), *map(str, arguments)]
        self._peer = peer
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    def finish(self):
        """Return exit code, stdout and stderr, once the process has ended."""
        self._peer.wait_for(lambda: self.process.poll() is not None, "the end of the replay")
        out, err = self.process.communicate()
        assert "Traceback" not in err
        return self.process.returncode, out, err


@pytest.fixture
def replay(peer):
    """Return a starter of replays, ended with the test."""
    replays = []

    def start(*arguments):
        replays.append(Replay(peer, *arguments))
        return replays[-1]

    yield start
    for each in replays:
        each.process.kill()
        each.process.communicate()


def subscribe_raw(peer, qos, topics=TYPES):
    received = {topic: [] for topic in topics}
    for topic in topics:
        peer.node.create_subscription(TYPES[topic], topic, received[topic].append, qos, raw=True)
    return received


def recorded(bag):
    messages = {topic: [] for topic in TYPES}
    with Reader(bag) as reader:
        for connection, _, data in reader.messages():
            # RTPS sends whole words: the middleware pads the end of a message with zeros.
            messages[connection.topic].append(bytes(data) + bytes(-len(data) % 4))
    return messages


def stamps(images):
    return [each.header.stamp.sec * 10**9 + each.header.stamp.nanosec for each in images]


@STORAGES
@pytest.mark.parametrize("qos", [EVERYTHING, EVERYTHING_BEST_EFFORT], ids=["reliable", "best_effort"])
def test_every_byte_arrives_in_order(tmp_path, peer, replay, storage, qos):
    bag = record(tmp_path / "bag", storage)
    received = subscribe_raw(peer, qos)
    code, out, err = replay(bag, "--rate", 4).finish()
    expected = recorded(bag)
    peer.wait_for(lambda: all(len(received[topic]) >= len(expected[topic]) for topic in TYPES), "all messages")
    assert received == expected
    assert (code, err) == (0, "")
    assert out == f"{sum(map(len, expected.values()))} messages played.\n"


def test_one_file_of_a_bag_plays_too(bag, peer, replay):
    received = subscribe_raw(peer, EVERYTHING)
    assert replay(bag / "bag.mcap", "--rate", 0).finish()[0] == 0
    peer.wait_for(lambda: len(received["/front/label_ground_truth"]) == COUNT, "all messages")
    assert received == recorded(bag)


def test_chosen_topics_the_clock_and_a_new_name(bag, peer, replay):
    renamed = peer.subscribe(Image, "/rear/image", EVERYTHING)
    unasked = peer.subscribe(Image, "/front/label_ground_truth", EVERYTHING)
    clock = peer.subscribe(Clock, "/clock", EVERYTHING)
    remap = ("--ros-args", "-r", "/front/image:=/rear/image")
    assert replay(bag, "--topics", "/front/image", "--clock", "--rate", 4, *remap).finish()[0] == 0
    peer.wait_for(lambda: len(renamed) == COUNT and len(clock) == COUNT, "all frames")
    assert [message.clock.sec * 10**9 + message.clock.nanosec for message in clock] == stamps(renamed)
    assert unasked == []


def test_a_start_in_the_middle_still_tells_the_condition(bag, peer, replay):
    conditions = peer.subscribe(String, "/condition", EVERYTHING)
    images = peer.subscribe(Image, "/front/image", EVERYTHING)
    assert replay(bag, "--start", 0.42, "--rate", 0).finish()[0] == 0
    peer.wait_for(lambda: len(images) == 3, "the last frames")
    assert stamps(images) == [START + index * STEP for index in (9, 10, 11)]
    assert [message.data for message in conditions] == ["fog"]


def test_a_late_subscriber_learns_the_condition(bag, peer, replay):
    images = peer.subscribe(Image, "/front/image", EVERYTHING)
    looping = replay(bag, "--loop", "--topics", "/condition", "/front/image")
    peer.wait_for(lambda: len(images) > 2, "frames")
    late = peer.subscribe(String, "/condition", LATCHED)
    peer.wait_for(lambda: late, "the condition")
    assert late[0].data in ("clear", "fog")
    looping.process.send_signal(signal.SIGINT)
    looping.finish()


def test_a_loop_goes_on_until_interrupted(bag, peer, replay):
    images = peer.subscribe(Image, "/front/image", EVERYTHING)
    looping = replay(bag, "--loop", "--rate", 10)
    peer.wait_for(lambda: len(images) > 2 * COUNT, "a third round")
    looping.process.send_signal(signal.SIGINT)
    code, _, err = looping.finish()
    assert (code, err) == (130, "interrupted\n")
    assert stamps(images[:COUNT]) == stamps(images[COUNT : 2 * COUNT])


@pytest.fixture
def start_segment_node(peer, start_process):
    """Return a starter of a segment node that ends when its labels reach the peer; it returns their growing list."""

    def start(camera, engine):
        labels, probe = [], Image(height=1, width=1, encoding="mono8", step=1, data=[0])
        keep = lambda label: label.header.stamp.sec and labels.append(label)  # noqa: E731
        peer.node.create_subscription(Image, f"/{camera}/label", keep, EVERYTHING)
        answers, images = peer.subscribe(Image, f"/{camera}/label"), peer.publisher(Image, f"/{camera}/image")
        parameters = ("bring_up:=true", f"engine:={engine}", f"cameras:=[{camera}]")
        start_process("segment_node", "--ros-args", *(word for p in parameters for word in ("-p", p)))
        peer.wait_for(lambda: images.publish(probe) or answers, "the answer to a probe")
        return labels

    return start


def test_lockstep_gets_every_label_from_the_real_node(bag, peer, replay, start_segment_node, slow_engine):
    labels = start_segment_node("front", slow_engine)
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--wait", 60, "--timeout", 60).finish()
    assert code == 0
    assert out.endswith(f"{COUNT} of {COUNT} frames labelled.\n")
    peer.wait_for(lambda: len(labels) == COUNT, "all labels")
    assert stamps(labels) == [START + index * STEP for index in range(COUNT)]
    assert {label.header.frame_id for label in labels} == {"front"}
    for index, label in enumerate(labels):
        np.testing.assert_array_equal(np.asarray(label.data).reshape(SIZE), expected_labels(image(index)))


class Labeller:
    """A stand-in for the node that loses the frames it is told to: the real one loses none."""

    def __init__(self, peer, lose):
        self.seen = []
        self._lose = lose
        self._publisher = peer.publisher(Image, "/front/label")
        peer.node.create_subscription(Image, "/front/image", self._on_image, BEST_EFFORT)

    def _on_image(self, message):
        index = (stamps([message])[0] - START) // STEP
        self.seen.append(index)
        if self.seen.count(index) > self._lose.get(index, 0):
            self._publisher.publish(Image(header=message.header))


def test_a_lost_frame_is_sent_once_more(bag, peer, replay):
    labeller = Labeller(peer, lose={0: 1, 5: 1})
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--timeout", 4).finish()
    assert (code, out) == (0, f"{3 * COUNT + 2} messages played. {COUNT} of {COUNT} frames labelled.\n")
    assert labeller.seen == sorted([*range(COUNT), 0, 5])


def test_a_frame_without_a_label_is_counted_and_passed_over(bag, peer, replay):
    Labeller(peer, lose={7: 2})
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--timeout", 2).finish()
    assert code == 1
    assert out.endswith(f" {COUNT - 1} of {COUNT} frames labelled.\n")


@pytest.mark.parametrize(("lose", "frame"), [({0: 99}, 1), ({4: 2, 5: 2, 6: 2}, 7)])
def test_lockstep_ends_when_no_labels_come(bag, peer, replay, lose, frame):
    Labeller(peer, lose)
    code, _, err = replay(bag, "--lockstep", "--rate", 0, "--timeout", 1).finish()
    assert code == 1
    assert re.fullmatch(rf"error: No label on /front/label for frame {frame} of /front/image .* within 1 s: .*\n", err)


def test_lockstep_without_a_node_says_so(bag, replay):
    code, _, err = replay(bag, "--lockstep", "--wait", 0.2).finish()
    assert code == 1
    assert re.fullmatch(r"error: Within 0.2 s no active node .* start segment_node .*\n", err)


def test_playing_to_nobody_is_said(bag, replay):
    code, out, err = replay(bag, "--rate", 0, "--wait", 0.2).finish()
    assert (code, err) == (0, "warning: Nobody subscribed within 0.2 s; playing all the same.\n")
    assert out == f"{3 * COUNT + 2} messages played.\n"


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


def test_a_cut_off_bag_is_played_and_said(tmp_path, peer, replay):
    bag = record(tmp_path / "bag", size=(240, 400))
    os.truncate(bag / "bag.mcap", (bag / "bag.mcap").stat().st_size // 2)
    images = peer.subscribe(Image, "/front/image", EVERYTHING)
    code, _, err = replay(bag, "--rate", 0).finish()
    assert code == 0
    assert re.match(r"warning: .*bag is damaged", err)
    held = BagReader(bag).topics["/front/image"].count
    assert 0 < held < COUNT
    peer.wait_for(lambda: len(images) == held, "what is left")


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


def test_a_bag_without_metadata_is_whole_all_the_same(bag):
    whole = list(BagReader(bag).messages())
    (bag / "metadata.yaml").unlink()
    assert list(BagReader(bag).messages()) == whole


def test_unknown_message_types_are_skipped(tmp_path, peer, replay):
    store = get_typestore(Stores.ROS2_JAZZY)
    store.register(get_types_from_msg("int32 value", "nowhere_msgs/msg/Odd"))
    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        for topic, kind in (("/odd", "nowhere_msgs/msg/Odd"), ("/condition", "std_msgs/msg/String")):
            connection = writer.add_connection(topic, kind, typestore=store)
            message = store.types[kind](7 if topic == "/odd" else "fog")
            writer.write(connection, START, store.serialize_cdr(message, kind))
    conditions = peer.subscribe(String, "/condition", EVERYTHING)
    code, out, err = replay(tmp_path / "bag").finish()
    assert (code, out) == (0, "1 messages played.\n")
    assert err == "warning: Skipped, their message type is not installed: /odd (nowhere_msgs/msg/Odd).\n"
    peer.wait_for(lambda: conditions, "the condition")
    code, _, err = replay(tmp_path / "bag", "--topics", "/odd").finish()
    assert code == 1
    assert "no message type is installed of /odd" in err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--topics", "/nope"], "has no topic /nope; it has /condition, /front/camera_info, /front/image, "),
        (["--start", "9"], "lasts 0.6 s: --start 9 is past its end"),
        (["--lockstep", "--topics", "/condition"], "--lockstep needs a topic <camera>/image"),
    ],
)
def test_a_wrong_wish_is_one_sentence(bag, replay, arguments, sentence):
    code, _, err = replay(bag, *arguments).finish()
    assert code == 1
    assert err.startswith("error: ")
    assert sentence in err
    assert err.count("\n") == 1


def test_ros_arguments_that_mean_nothing_are_refused(bag, replay):
    code, _, err = replay(bag, "--ros-args", "-r", "nonsense").finish()
    assert code == 1
    # The line before is rcl's own.
    assert err.splitlines()[-1].startswith("error: ROS 2 does not start: failed to initialize rcl")


def test_what_is_no_bag_is_one_sentence(tmp_path, replay):
    (tmp_path / "file.mcap").write_bytes(b"no bag")
    (tmp_path / "file.txt").write_bytes(b"no bag")
    (tmp_path / "folder").mkdir()
    for name, sentence in (
        ("nothing", "No bag"),
        ("file.mcap", "cannot be read as a rosbag2"),
        ("file.txt", "cannot be read as a rosbag2"),
        ("folder", "cannot be read as a rosbag2"),
    ):
        code, _, err = replay(tmp_path / name).finish()
        assert code == 1
        assert sentence in err
        assert err.count("\n") == 1


@pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid is not at {os.path.relpath(CAMVID)}")
def test_camvid_through_the_real_node(tmp_path, peer, replay, start_segment_node, pixel_engine):
    assert record_drive.main([str(CAMVID), str(tmp_path / "bag"), "--mapping", "camvid", "--camera", "rear"]) == 0
    count = len(list((CAMVID / "images").iterdir()))
    labels = start_segment_node("rear", pixel_engine)
    code, out, _ = replay(tmp_path / "bag", "--lockstep", "--rate", 0, "--wait", 60).finish()
    assert code == 0
    assert out.endswith(f"{count} of {count} frames labelled.\n")
    peer.wait_for(lambda: len(labels) == count, "all labels")
    assert stamps(labels) == [FIRST_STAMP_NS + index * 100_000_000 for index in range(count)]
    assert {label.header.frame_id for label in labels} == {"rear"}
    assert {(label.height, label.width) for label in labels} == {(360, 480)}
