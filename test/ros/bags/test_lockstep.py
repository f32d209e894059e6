"""Replay in lockstep: every frame gets its label from the real node, and what is said when one does not."""

import os
import re

import numpy as np
import pytest
from drives import STORE
from engines import expected_labels
from image_messages import compressed
from paths import CAMVID
from peer import BEST_EFFORT, EVERYTHING
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from sensor_msgs.msg import Image
from short_drive import COUNT, SIZE, START, STEP, image, stamps

from querydiff_ros.bags.bag_recorder import FIRST_STAMP_NS
from querydiff_ros.cli import record_drive
from querydiff_ros.common.stamps import with_stamp

CAMVID_VAL = CAMVID / "val"
COMPRESSED = "/front/image/compressed"


def by_both_transports(bag, frames, same_stamp=()):
    """Return a copy of a bag where `frames` come compressed too, first; `same_stamp` have that of the frame before."""
    copy, index = bag.with_name("both"), -1
    with Reader(bag) as reader, Writer(copy, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        kinds = {each.topic: each.msgtype for each in reader.connections}
        kinds[COMPRESSED] = "sensor_msgs/msg/CompressedImage"
        added = {topic: writer.add_connection(topic, kind, typestore=STORE) for topic, kind in kinds.items()}
        for connection, time, recorded in reader.messages():
            data = bytes(recorded)
            if connection.topic == "/front/image":
                index += 1
                data = with_stamp(data, START + (index - (index in same_stamp)) * STEP)
                header = STORE.deserialize_cdr(data, connection.msgtype).header
                if index in frames:
                    png = np.asarray(compressed(image(index)).data, np.uint8)
                    twin = STORE.types[kinds[COMPRESSED]](header, "png", png)
                    writer.write(added[COMPRESSED], time - 1, STORE.serialize_cdr(twin, kinds[COMPRESSED]))
            writer.write(added[connection.topic], time, data)
    return copy


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
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--timeout", 60).finish()
    assert code == 0
    assert out.endswith(f"{COUNT} of {COUNT} frames labelled.\n")
    peer.wait_for(lambda: len(labels) == COUNT, "all labels")
    assert stamps(labels) == [START + index * STEP for index in range(COUNT)]
    assert {label.header.frame_id for label in labels} == {"front"}
    for index, label in enumerate(labels):
        np.testing.assert_array_equal(np.asarray(label.data).reshape(SIZE), expected_labels(image(index)))


def test_a_frame_that_comes_by_both_transports_is_awaited_once(bag, peer, replay, make_active_node):
    make_active_node()
    labels = peer.subscribe(Image, "/front/label", EVERYTHING)
    bag = by_both_transports(bag, frames=(2, 3, 4), same_stamp=(4,))
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--timeout", 8).finish()
    assert (code, out) == (0, f"{3 * COUNT + 5} messages played. {COUNT} of {COUNT} frames labelled.\n")
    peer.wait_for(lambda: len(labels) >= COUNT, "all labels")
    assert stamps(labels) == [START + (index - (index == 4)) * STEP for index in range(COUNT)]


class Labeller:
    """A stand-in for the node, with transport raw, that loses the frames it is told to: the real one loses none."""

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
    labeller, bag = Labeller(peer, lose={0: 1, 5: 1}), by_both_transports(bag, range(COUNT))
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--timeout", 4).finish()
    assert (code, out) == (0, f"{4 * COUNT + 2} messages played. {COUNT} of {COUNT} frames labelled.\n")
    assert labeller.seen == sorted(labeller.seen)
    assert set(labeller.seen) == set(range(COUNT))
    assert min(labeller.seen.count(index) for index in (0, 5)) >= 2


def test_a_frame_without_a_label_is_counted_and_passed_over(bag, peer, replay):
    Labeller(peer, lose={7: 99})
    code, out, _ = replay(bag, "--lockstep", "--rate", 0, "--timeout", 2).finish()
    assert code == 1
    assert out.endswith(f" {COUNT - 1} of {COUNT} frames labelled.\n")


@pytest.mark.parametrize(("lose", "frame"), [({0: 99}, 1), ({4: 99, 5: 99, 6: 99}, 7)])
def test_lockstep_ends_when_no_labels_come(bag, peer, replay, lose, frame):
    Labeller(peer, lose)
    code, _, err = replay(bag, "--lockstep", "--rate", 0, "--timeout", 2).finish()
    assert code == 1
    assert re.fullmatch(rf"error: No label on /front/label for frame {frame} of /front/image .* within 2 s: .*\n", err)


def test_lockstep_without_a_node_says_so(bag, replay):
    code, _, err = replay(bag, "--lockstep", "--wait", 0.2).finish()
    assert code == 1
    assert re.fullmatch(r"error: Within 0.2 s no active node .* start segment_node .*\n", err)


@pytest.mark.skipif(not CAMVID_VAL.is_dir(), reason=f"CamVid is not at {os.path.relpath(CAMVID_VAL)}")
def test_camvid_through_the_real_node(tmp_path, peer, replay, start_segment_node, pixel_engine):
    assert record_drive.main([str(CAMVID_VAL), str(tmp_path / "bag"), "--mapping", "camvid", "--camera", "rear"]) == 0
    count = len(list((CAMVID_VAL / "images").iterdir()))
    labels = start_segment_node("rear", pixel_engine)
    code, out, _ = replay(tmp_path / "bag", "--lockstep", "--rate", 0, "--timeout", 60).finish()
    assert code == 0
    assert out.endswith(f"{count} of {count} frames labelled.\n")
    peer.wait_for(lambda: len(labels) == count, "all labels")
    assert stamps(labels) == [FIRST_STAMP_NS + index * 100_000_000 for index in range(count)]
    assert {label.header.frame_id for label in labels} == {"rear"}
    assert {(label.height, label.width) for label in labels} == {(360, 480)}
