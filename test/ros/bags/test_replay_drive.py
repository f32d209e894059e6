"""Replay through the real executable over real DDS: the bytes, the order, and what goes wrong."""

import os
import re
import signal

import numpy as np
import pytest
from drives import rewritten
from peer import BEST_EFFORT, EVERYTHING
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from short_drive import COUNT, START, STEP, record, stamps
from std_msgs.msg import String

from querydiff_ros.bags.bag_file import BagMessage
from querydiff_ros.bags.bag_player import still_true
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.cli import replay as replay_command

LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)
TYPES = {
    "/condition": String,
    "/front/camera_info": CameraInfo,
    "/front/image": Image,
    "/front/label_ground_truth": Image,
}


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


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_every_byte_arrives_in_order(tmp_path, peer, replay, storage):
    bag = record(tmp_path / "bag", storage)
    received = subscribe_raw(peer, EVERYTHING)
    code, out, err = replay(bag, "--rate", 4).finish()
    expected = recorded(bag)
    peer.wait_for(lambda: all(len(received[topic]) >= len(expected[topic]) for topic in TYPES), "all messages")
    assert received == expected
    assert (code, err) == (0, "")
    assert out == f"{sum(map(len, expected.values()))} messages played.\n"


def test_what_a_best_effort_subscriber_receives_is_whole_and_in_order(bag, peer, replay):
    received = subscribe_raw(peer, BEST_EFFORT)
    assert replay(bag, "--rate", 1).finish()[0] == 0
    assert received["/front/image"]
    for topic, messages in recorded(bag).items():
        left = iter(messages)
        assert all(message in left for message in received[topic])  # `in` moves on: a message out of order is missed


def test_one_file_of_a_bag_plays_too_and_a_launch_file_may_write_home(bag, peer, replay, monkeypatch):
    monkeypatch.setenv("HOME", str(bag))
    received = subscribe_raw(peer, EVERYTHING)
    assert replay("~/bag.mcap", "--rate", 0).finish()[0] == 0
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


def test_all_static_transforms_hold_and_the_last_of_everything_else() -> None:
    kinds = {"/condition": "std_msgs/msg/String", "/tf_static": "tf2_msgs/msg/TFMessage"}
    topics = ("/tf_static", "/condition", "/tf_static", "/condition")
    sent = [BagMessage(topic, number, b"") for number, topic in enumerate(topics)]
    assert [message.time_ns for message in still_true(sent, kinds)] == [0, 3, 2]


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
    assert (code, err) == (0, "interrupted\n")  # launch would take any other code for a crash
    assert stamps(images[:COUNT]) == stamps(images[COUNT : 2 * COUNT])


def test_playing_to_nobody_is_said(bag, replay):
    code, out, err = replay(bag, "--rate", 0, "--wait", 0.2).finish()
    assert (code, err) == (0, "warning: Nobody subscribed within 0.2 s; playing all the same.\n")
    assert out == f"{3 * COUNT + 2} messages played.\n"


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
    assert "has nothing to play; their message type is not installed: /odd" in err


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


def simulated(path, names=(), clock=True, jump=0):
    """Record frames stamped with simulated seconds at wall-clock times, a /clock beside them, and odd topics."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    with Writer(path, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {"/front/image": "sensor_msgs/msg/Image", **dict.fromkeys(names, "std_msgs/msg/String")}
        kinds |= {"/clock": "rosgraph_msgs/msg/Clock"} if clock else {}
        connections = {name: writer.add_connection(name, kind, typestore=store) for name, kind in kinds.items()}
        for index in range(6):
            stamp = types["builtin_interfaces/msg/Time"](12 + index, 0)
            header = types["std_msgs/msg/Header"](stamp, "front")
            pixels = np.zeros(12, np.uint8)
            messages = {
                "/front/image": types["sensor_msgs/msg/Image"](header, 2, 2, "rgb8", 0, 6, pixels),
                "/clock": types["rosgraph_msgs/msg/Clock"](stamp),
            }
            for name, kind in kinds.items():
                message = messages.get(name) or types["std_msgs/msg/String"]("odd")
                writer.write(
                    connections[name], START + index * STEP + (index > 2) * jump, store.serialize_cdr(message, kind)
                )
    return path


def test_a_recorded_clock_is_played_and_none_is_made_beside_it(tmp_path, peer, replay):
    clock = peer.subscribe(Clock, "/clock", EVERYTHING)
    code, _, err = replay(simulated(tmp_path / "bag"), "--clock", "--rate", 4).finish()
    assert code == 0
    peer.wait_for(lambda: len(clock) == 6, "all times")
    assert [message.clock.sec for message in clock] == list(range(12, 18))
    assert "The recorded /clock is played, and none is made for --clock." in err
    assert "The stamps of /front/image are 1699999988 s apart from the times when they were recorded" in err


def test_simulated_stamps_under_a_made_clock_are_named(tmp_path, replay):
    _, _, err = replay(simulated(tmp_path / "bag", clock=False), "--clock", "--rate", 0, "--wait", 0.1).finish()
    assert "ages and latencies from them mean nothing under the /clock that is made from those times" in err


def test_a_gap_of_years_is_left_out_and_said(tmp_path, replay):
    years = 10 * 365 * 86400 * 10**9
    code, out, err = replay(simulated(tmp_path / "bag", clock=False, jump=years), "--wait", 0.1).finish()
    assert (code, out) == (0, "6 messages played.\n")
    assert "A gap of 315360000.1 s in the recording is left out: it is longer than --max-gap." in err


def test_images_too_short_for_a_header_are_skipped_and_counted(tmp_path, capsys):
    def cut(topic, index, message):
        return bytes([0, 1, 0, 0]) if topic == "/front/image" and index in (0, 4) else message

    bag = rewritten(record(tmp_path / "bag"), tmp_path / "cut", cut)
    assert replay_command.main([str(bag), "--rate", "0", "--wait", "0", "--clock"]) == 0
    out, err = capsys.readouterr()
    assert f"{3 * COUNT} messages played, 2 skipped.\n" in out
    assert err.count("/front/image holds a message of 4 bytes, too short for an image: it is skipped") == 1


def test_names_that_ros_refuses_are_skipped_and_the_rest_plays(tmp_path, peer, replay):
    images = peer.subscribe(Image, "/front/image", EVERYTHING)
    names = ("/device_0/Auto Exposure/value", "/cam-left/text", "/0/text", "/carla//text")
    code, _, err = replay(simulated(tmp_path / "bag", names, clock=False), "--rate", 0).finish()
    assert code == 0
    peer.wait_for(lambda: len(images) == 6, "all frames")
    assert all(f"{name} (std_msgs/msg/String)" in err for name in names)
    assert err.count("Skipped, ROS 2 does not allow such names") == 1
    code, _, err = replay(tmp_path / "bag", "--topics", "/0/text").finish()
    assert code == 1
    assert "has nothing to play; ROS 2 does not allow such names: /0/text" in err
