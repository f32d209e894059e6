"""The planner-side example with depth: points that know their class, over real DDS."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from image_messages import picture, raw, stamped
from peer import Peer
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo, Image, PointCloud2
from test_point_clouds import depth_image, lidar

from querydiff_core.errors import QueryDiffError
from querydiff_ros.examples.labelled_points_node import LabelledPointsNode
from querydiff_ros.examples.point_clouds import POINT

HEIGHT, WIDTH = 4, 6
LABELS = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) % 19
CONFIDENCE = np.arange(HEIGHT * WIDTH, dtype=np.uint8).reshape(HEIGHT, WIDTH) * 10
DEPTH = (1 + np.arange(HEIGHT * WIDTH).reshape(HEIGHT, WIDTH) / 8).astype(np.float32)
MakeNode = Callable[..., LabelledPointsNode]


@pytest.fixture
def make(peer: Peer) -> Iterator[MakeNode]:
    with contextlib.ExitStack() as nodes:

        def start(**params: Any) -> LabelledPointsNode:
            overrides = [Parameter(name, value=value) for name, value in params.items()]
            node = LabelledPointsNode(parameter_overrides=overrides)
            peer.executor.add_node(node)
            nodes.callback(node.destroy_node)
            nodes.callback(peer.executor.remove_node, node)
            return node

        yield start


def calibration(stamp: int = 5) -> CameraInfo:
    k = [10.0, 0.0, 2.5, 0.0, 20.0, 1.5, 0.0, 0.0, 1.0]
    return stamped(CameraInfo(height=HEIGHT, width=WIDTH, k=k), stamp, "front")


def mono8(values: np.ndarray, stamp: int = 5) -> Image:
    return raw(np.repeat(values[..., None], 3, axis=-1), "mono8", stamp=stamp)


def measured(kind: str = "32FC1", stamp: int = 5, later_ns: int = 0, depth: np.ndarray = DEPTH) -> Image:
    values = depth if kind == "32FC1" else np.rint(depth * 1000).astype(np.uint16)
    message = stamped(depth_image(values, kind), stamp, "depth")
    message.header.stamp.nanosec += later_ns
    return message


class Conversation:
    """Publishes a label with its confidence and calibration, and what was measured, until something comes of it."""

    def __init__(self, peer: Peer, source: str = "/front/depth", kind: type = Image) -> None:
        topics = {"label": Image, "confidence": Image, "label/camera_info": CameraInfo}
        self._peer, self.clouds = peer, peer.subscribe(PointCloud2, "/front/labelled_points")
        self._publishers = [peer.publisher(each, f"/front/{name}") for name, each in topics.items()]
        self._publishers.append(peer.publisher(kind, source))
        peer.wait_for_match(*self._publishers)

    def send(self, *messages: Any) -> None:
        for publisher, message in zip(self._publishers, messages, strict=True):
            publisher.publish(message)

    def answer(self, measured: Any, stamp: int = 5) -> tuple[PointCloud2, np.ndarray]:
        """Return the cloud that answers, and its points."""
        sent = mono8(LABELS, stamp), mono8(CONFIDENCE, stamp), calibration(stamp), measured
        cloud = self._peer.wait_for(lambda: (self.send(*sent), self.clouds)[1], "a cloud")[0]
        return cloud, np.frombuffer(cloud.data, POINT).reshape(cloud.height, cloud.width)


@pytest.mark.parametrize(("kind", "later_ns"), [("32FC1", 0), ("16UC1", 15_000_000)])
def test_every_pixel_becomes_a_point_under_the_labels_header(
    peer: Peer, make: MakeNode, kind: str, later_ns: int
) -> None:
    make()
    depth = DEPTH.copy()
    depth[0, 0] = 0  # nothing was measured
    cloud, points = Conversation(peer).answer(measured(kind, later_ns=later_ns, depth=depth))
    assert (cloud.height, cloud.width) == (HEIGHT, WIDTH)
    assert (cloud.header.frame_id, cloud.header.stamp.sec, cloud.header.stamp.nanosec) == ("front", 5, 500)
    np.testing.assert_array_equal(points["class"], LABELS)
    np.testing.assert_array_equal(points["confidence"], CONFIDENCE)
    assert np.isnan([points[name][0, 0] for name in "xyz"]).all()
    v, u = np.indices(DEPTH.shape)
    expected = {"x": (u - 2.5) / 10 * DEPTH, "y": (v - 1.5) / 20 * DEPTH, "z": DEPTH}
    for name, values in expected.items():
        np.testing.assert_allclose(points[name].ravel()[1:], values.ravel()[1:], rtol=1e-3)


def test_only_certain_points_of_the_classes_asked_for(peer: Peer, make: MakeNode) -> None:
    make(classes=["car", "person"], min_confidence=0.5)  # 13 and 11; 0.5 of 255 is reached from pixel 13 on
    cloud, points = Conversation(peer).answer(measured())
    assert (cloud.height, points["class"].tolist(), points["confidence"].tolist()) == (1, [[13]], [[130]])
    assert points["z"][0, 0] == DEPTH.ravel()[13]


def test_a_lidars_points_take_the_class_of_their_pixel(peer: Peer, make: MakeNode) -> None:
    """The lidar looks forward along x, half a metre above the camera, whose optical axis is z."""
    make(points_topic="/lidar", camera_from_points="0 -0.5 0 0.5 -0.5 0.5 0.5")
    pixel = [(0, 0), (3, 5), (2, 1)]
    optical = np.array([[(u - 2.5) / 10 * 4, (v - 1.5) / 20 * 4, 4] for v, u in pixel] + [[0, 0, -4], [9, 0, 4]])
    turned = optical - [0, -0.5, 0]
    points = np.stack([turned[:, 2], -turned[:, 0], -turned[:, 1]], axis=-1)  # forward, left, up
    message = stamped(lidar(np.dtype([(name, "<f4") for name in "xyz"]), points), 5, "lidar")
    cloud, found = Conversation(peer, "/lidar", PointCloud2).answer(message)
    assert (cloud.header.frame_id, cloud.height, cloud.width) == ("lidar", 1, 5)
    assert found["class"][0].tolist() == [*(LABELS[each] for each in pixel), 255, 255]
    assert found["confidence"][0].tolist() == [*(CONFIDENCE[each] for each in pixel), 0, 0]
    np.testing.assert_allclose(np.stack([found[name][0] for name in "xyz"], axis=-1), points, rtol=1e-6)


def test_a_slower_lidars_scans_are_published_once_each_with_the_nearest_label(
    peer: Peer, make: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    """The labels come at 30 Hz and late, the scans at 10 Hz, between two labels."""
    node = make(points_topic="/lidar", camera_from_points="0 0 0 0 0 0 1", tolerance=0.05)
    talk = Conversation(peer, "/lidar", PointCloud2)
    label, confidence, info, scanner = talk._publishers

    def at(message: Any, milliseconds: int) -> Any:
        message.header.stamp.nanosec = milliseconds * 10**6
        return message

    info.publish(calibration())
    peer.wait_for(lambda: node._camera, "the calibration")
    for number in range(18):
        if number % 3 == 0:
            scan = stamped(lidar(np.dtype([(name, "<f4") for name in "xyz"]), np.array([[0.0, 0.0, 1.0]])), 5, "lidar")
            scanner.publish(at(scan, number * 33 + 13))
        if number >= 3:
            late, labels = number - 3, np.full_like(LABELS, number - 3)
            label.publish(at(mono8(labels), late * 33))
            confidence.publish(at(mono8(CONFIDENCE), late * 33))
            peer.wait_for(lambda n=late: node._pairs.matched > n, "the pair")
    peer.wait_for(lambda: len(talk.clouds) >= 5, "the clouds")
    assert [cloud.header.stamp.nanosec // 10**6 for cloud in talk.clouds] == [13, 112, 211, 310, 409]
    assert [int(np.frombuffer(cloud.data, POINT)["class"][0]) for cloud in talk.clouds] == [0, 3, 6, 9, 12]
    assert "WARN" not in capfd.readouterr().err


def test_a_label_is_answered_with_what_was_measured_nearest_to_it(peer: Peer, make: MakeNode) -> None:
    """Labels come long after their depth: what came since is of other moments."""
    make()
    talk = Conversation(peer)
    depth = talk._publishers[-1]

    def send() -> list[PointCloud2]:
        for stamp in (4, 5, 6):
            depth.publish(measured(stamp=stamp, depth=np.full_like(DEPTH, stamp)))
        for publisher, message in zip(
            talk._publishers, (mono8(LABELS), mono8(CONFIDENCE), calibration()), strict=False
        ):
            publisher.publish(message)
        return talk.clouds

    cloud = peer.wait_for(send, "a cloud")[0]
    assert set(np.frombuffer(cloud.data, POINT)["z"]) == {5.0}


def test_the_segment_nodes_output_is_what_it_takes(peer: Peer, make: MakeNode, make_active_node: Any) -> None:
    make_active_node()
    make()
    clouds = peer.subscribe(PointCloud2, "/front/labelled_points")
    rgb = picture(HEIGHT, WIDTH)
    topics = {"image": Image, "camera_info": CameraInfo, "depth": Image}
    publishers = [peer.publisher(kind, f"/front/{name}") for name, kind in topics.items()]
    peer.wait_for_match(*publishers)

    def send() -> list[PointCloud2]:
        for publisher, message in zip(publishers, (raw(rgb, stamp=5), calibration(), measured()), strict=True):
            publisher.publish(message)
        return clouds

    cloud = peer.wait_for(send, "a cloud")[0]
    points = np.frombuffer(cloud.data, POINT).reshape(HEIGHT, WIDTH)
    np.testing.assert_array_equal(points["class"], rgb[..., 0] % 19)  # as the pixel engine labels
    np.testing.assert_array_equal(points["confidence"], rgb[..., 1])
    np.testing.assert_array_equal(points["z"], DEPTH)


def broken(message: Image) -> Image:
    message.data = message.data[:-2]
    return message


@pytest.mark.parametrize(
    ("sent", "sentence"),
    [
        (measured(depth=DEPTH[:2]), "/front/depth is 6 x 2 and the label 6 x 4: give depth that is registered"),
        (
            measured(later_ns=300_000_000),
            "/front/depth has nothing within 0.02 s of a label: the nearest is 0.300 s ap",
        ),
        (broken(measured()), "/front/depth is truncated"),
        (raw(picture(HEIGHT, WIDTH), stamp=5), "/front/depth has encoding 'rgb8': expected a depth image"),
    ],
)
def test_depth_that_does_not_fit_is_one_sentence(
    peer: Peer, make: MakeNode, capfd: pytest.CaptureFixture[str], sent: Image, sentence: str
) -> None:
    make()
    talk, said = Conversation(peer), [""]

    def send() -> bool:
        talk.send(mono8(LABELS), mono8(CONFIDENCE), calibration(), sent)
        said[0] += capfd.readouterr().err
        return sentence in said[0]

    peer.wait_for(send, "a sentence")
    assert talk.clouds == []
    assert said[0].count(sentence) == 1
    assert "Traceback" not in said[0]


def test_confidence_and_calibration_of_other_images_are_one_sentence_each(
    peer: Peer, make: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    make()
    talk, said, other = Conversation(peer), [""], calibration()
    other.width *= 2

    def is_said(confidence: np.ndarray, sentence: str) -> bool:
        talk.send(mono8(LABELS), mono8(confidence), other, measured())
        said[0] += capfd.readouterr().err
        return sentence in said[0]

    sentence = "/front/label is 6 x 4 and /front/confidence is 6 x 2: both must come from one segment_node."
    peer.wait_for(lambda: is_said(CONFIDENCE[:2], sentence), "a sentence")
    sentence = "/front/label/camera_info is of images of 12 x 4 and the label is 6 x 4"
    peer.wait_for(lambda: is_said(CONFIDENCE, sentence), "a sentence")
    assert talk.clouds == []


@pytest.mark.parametrize(
    ("missing", "sentence"),
    [
        (1, "/front/confidence brings nothing, and /front/label does"),
        (2, "/front/label/camera_info brings nothing: the camera's driver must send camera_info"),
        (3, "/front/depth brings nothing, and labels come"),
    ],
)
def test_an_input_that_never_comes_is_named(
    peer: Peer, make: MakeNode, capfd: pytest.CaptureFixture[str], missing: int, sentence: str
) -> None:
    make()
    talk, said, stamps = Conversation(peer), [""], iter(range(5, 1000))

    def send() -> bool:
        stamp = next(stamps)
        sent = [mono8(LABELS, stamp), mono8(CONFIDENCE, stamp), calibration(stamp), measured(stamp=stamp)]
        for number, (publisher, message) in enumerate(zip(talk._publishers, sent, strict=True)):
            if number != missing:
                publisher.publish(message)
                peer.executor.spin_once(timeout_sec=0.1)  # as the node reads, so that no queue runs over
        said[0] += capfd.readouterr().err
        return sentence in said[0]

    peer.wait_for(send, "a sentence")
    assert talk.clouds == []


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"classes": ["roda"]}, "holds 'roda': expected some of road, sidewalk"),
        ({"points_topic": "/lidar"}, "points_topic needs camera_from_points: `ros2 run tf2_ros tf2_echo CAMERA"),
        ({"camera_from_points": "1 2 3"}, "must be 'x y z qx qy qz qw', as tf2_echo has it, found '1 2 3'"),
        ({"tolerance": 2.0}, "must lie between 0.0 and 1.0, found 2.0"),
        ({"camera": "the front"}, "camera is 'the front', which is no topic: topic name must not contain"),
        ({"depth_topic": "/depth/"}, "depth_topic is '/depth/', which is no topic: topic name must not end with"),
    ],
)
def test_wrong_parameters_are_one_sentence(ros: None, params: dict[str, Any], sentence: str) -> None:
    overrides = [Parameter(name, value=value) for name, value in params.items()]
    with pytest.raises(QueryDiffError, match=sentence):
        LabelledPointsNode(parameter_overrides=overrides)
