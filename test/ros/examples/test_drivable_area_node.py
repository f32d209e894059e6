"""The planner-side example: the mask and the fractions that follow from labels and confidence."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from image_messages import picture, pixels, raw, stamped
from peer import Peer
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import Float32MultiArray

from querydiff_core.errors import QueryDiffError
from querydiff_ros.examples.drivable_area_node import DrivableAreaNode, class_fractions, drivable_area

ROAD = np.zeros(256, np.uint8)
ROAD[0] = 255
IMAGES = hnp.arrays(np.uint8, (5, 7), elements=st.sampled_from([0, 1, 18, 255]))


@given(labels=IMAGES, confidence=hnp.arrays(np.uint8, (5, 7)), least=st.integers(0, 255))
def test_drivable_is_certain_road(labels: np.ndarray, confidence: np.ndarray, least: int) -> None:
    expected = [[255 if n == 0 and c >= least else 0 for n, c in zip(*rows)] for rows in zip(labels, confidence)]  # noqa: B905
    np.testing.assert_array_equal(drivable_area(labels, confidence, ROAD, least), expected)


@given(labels=IMAGES)
def test_fractions_are_shares_of_the_image(labels: np.ndarray) -> None:
    fractions = class_fractions(labels)
    assert fractions.shape == (19,)
    for train_id in (0, 1, 2, 18):
        assert fractions[train_id] == pytest.approx((labels == train_id).mean())


def make(**params: Any) -> DrivableAreaNode:
    return DrivableAreaNode(parameter_overrides=[Parameter(name, value=value) for name, value in params.items()])


@pytest.fixture
def node(peer: Peer) -> Iterator[DrivableAreaNode]:
    node = make(classes=["road", "sidewalk"], min_confidence=0.5)
    peer.executor.add_node(node)
    yield node
    peer.executor.remove_node(node)
    node.destroy_node()


def test_the_node_answers_under_the_same_header(peer: Peer, node: DrivableAreaNode) -> None:
    masks = peer.subscribe(Image, "/front/drivable_area")
    fractions = peer.subscribe(Float32MultiArray, "/front/class_fractions")
    inputs = [peer.publisher(Image, f"/front/{name}") for name in ("label", "confidence")]
    peer.wait_for_match(*inputs)
    labels, confidence = picture(4, 6), picture(4, 6)
    labels[..., 0] = np.arange(24).reshape(4, 6) % 3  # road, sidewalk, building
    confidence[..., 0] = np.arange(24).reshape(4, 6) // 12 * 10 + 120  # 120 above: too little, 130 below

    def send() -> list[Image]:
        for publisher, image in zip(inputs, (labels, confidence), strict=True):
            publisher.publish(raw(image, "mono8", stamp=5))
        return masks

    mask = peer.wait_for(send, "a mask")[0]
    expected = np.where(np.arange(24) >= 12, np.where(np.arange(24) % 3 < 2, 255, 0), 0).reshape(4, 6)
    np.testing.assert_array_equal(pixels(mask), expected)
    assert (mask.encoding, mask.header.stamp.sec, mask.header.frame_id) == ("mono8", 5, "front")
    (shares,) = peer.wait_for(lambda: fractions, "fractions")[:1]
    assert list(shares.data) == pytest.approx([1 / 3] * 3 + [0.0] * 16)
    assert (shares.layout.dim[0].label, shares.layout.dim[0].size) == ("class", 19)


def test_labels_that_cannot_be_used_are_one_sentence(
    peer: Peer, node: DrivableAreaNode, capfd: pytest.CaptureFixture[str]
) -> None:
    masks = peer.subscribe(Image, "/front/drivable_area")
    inputs = [peer.publisher(Image, f"/front/{name}") for name in ("label", "confidence")]
    peer.wait_for_match(*inputs)
    good, cut, empty = (raw(picture(4, 6), "mono8") for _ in range(3))
    cut.data, empty.data, empty.height = cut.data[:10], cut.data[:0], 0
    pairs = [(cut, good), (raw(picture(4, 6)), good), (empty, empty), (good, raw(picture(8, 6), "mono8")), (good, good)]
    for stamp, pair in enumerate(pairs, 1):
        for publisher, message in zip(inputs, pair, strict=True):
            publisher.publish(stamped(message, stamp, "front"))
        peer.wait_for(lambda n=stamp: node._pairs.matched == n, "the pair")
    assert peer.wait_for(lambda: masks, "a mask")[0].header.stamp.sec == len(pairs)
    assert "front/label is truncated: 10 bytes, but 4 rows of 6 bytes make 24." in capfd.readouterr().err


def test_the_segment_nodes_output_is_what_it_takes(peer: Peer, node: DrivableAreaNode, make_active_node: Any) -> None:
    make_active_node()
    masks = peer.subscribe(Image, "/front/drivable_area")
    rgb = picture(8, 8, red=0)  # road to the pixel engine, whose confidence is green
    rgb[:, :4, 1], rgb[:, 4:, 1] = 255, 0
    camera = peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    mask = peer.wait_for(lambda: (camera.publish(raw(rgb)), masks)[1], "a mask")[0]
    np.testing.assert_array_equal(pixels(mask), np.tile([255] * 4 + [0] * 4, (8, 1)))


@pytest.mark.parametrize(
    ("params", "sentence"),
    [
        ({"classes": ["roda"]}, "holds 'roda': expected some of road, sidewalk"),
        ({"min_confidence": 2.0}, "must lie between 0.0 and 1.0, found 2.0"),
        ({"classes": "road"}, "must be a list of strings, found 'road'"),
    ],
)
def test_wrong_parameters_are_one_sentence(ros: None, params: dict[str, Any], sentence: str) -> None:
    with pytest.raises(QueryDiffError, match=sentence):
        make(**params)
