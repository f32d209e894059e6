"""Which frames, topics and calibrations count: stamps never set, two transports, remapped drivers, latched messages."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from image_messages import compressed, picture, raw
from peer import BEST_EFFORT, Peer
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from test_diagnostics import status

from querydiff_core.errors import QueryDiffError
from querydiff_ros.common.topics import camera_topics

MakeNode = Callable[..., Any]
LATCHED = QoSProfile(depth=1, durability=DurabilityPolicy.TRANSIENT_LOCAL)


def unstamped(message: Any) -> Any:
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    return message


def calibration(width: int, height: int, **fields: int) -> CameraInfo:
    message = CameraInfo(width=width, height=height)
    for name, value in fields.items():
        target = message.roi if name in ("x_offset", "y_offset") else message
        setattr(target, name, value)
    return message


def labels_of(peer: Peer, publisher: Any, messages: list[Any]) -> list[Image]:
    """Publish messages one by one, wait for the label of each, and return the labels."""
    labels = peer.subscribe(Image, "/front/label")
    peer.wait_for_match(publisher)
    for message in messages:
        before = len(labels)
        publisher.publish(message)
        peer.wait_for(lambda before=before: len(labels) > before, "a label")
    return labels


def test_frames_without_stamps_are_labelled_each_and_after_a_change_of_transport(
    peer: Peer, make_active_node: MakeNode
) -> None:
    make_active_node()
    labels_of(peer, peer.publisher(Image, "/front/image"), [unstamped(raw(picture())) for _ in range(3)])
    # Frames of the other transport right afterwards may be the same ones; when those are used up, they are new.
    labels, camera = peer.received["/front/label"], peer.publisher(CompressedImage, "/front/image/compressed")
    peer.wait_for_match(camera)
    before = len(labels)
    peer.wait_for(lambda: (camera.publish(unstamped(compressed(picture()))), len(labels) > before)[1], "a label")


def test_a_frame_that_is_late_by_the_other_transport_is_dropped(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node()
    labels, reports = peer.subscribe(Image, "/front/label"), peer.subscribe(DiagnosticArray, "/diagnostics")
    cameras = {"": peer.publisher(Image, "/front/image")}
    cameras["compressed"] = peer.publisher(CompressedImage, "/front/image/compressed")
    peer.wait_for_match(*cameras.values())

    def publish(transport: str, milliseconds: int) -> None:
        message = compressed(picture(), stamp=1) if transport else raw(picture(), stamp=1)
        message.header.stamp.nanosec = milliseconds * 10**6
        cameras[transport].publish(message)

    publish("", 200)
    peer.wait_for(lambda: len(labels) == 1, "the first label")
    publish("compressed", 100)
    peer.wait_for(lambda: status(reports, "front").get("frames_dropped") == "1", "the report of the late frame")
    publish("compressed", 300)
    peer.wait_for(lambda: len(labels) == 2, "the next label")
    assert [label.header.stamp.nanosec // 10**6 for label in labels] == [200, 300]


def test_a_frame_that_cannot_be_read_makes_way_for_the_other_transport(peer: Peer, make_active_node: MakeNode) -> None:
    """Again and again: a broken frame of the transport that is used does not silence the camera."""
    make_active_node()
    labels, reports = peer.subscribe(Image, "/front/label"), peer.subscribe(DiagnosticArray, "/diagnostics")
    unreadable = peer.publisher(Image, "/front/image")
    readable = peer.publisher(CompressedImage, "/front/image/compressed")
    peer.wait_for_match(unreadable, readable)
    stamps = count(1)

    def publish(cut: int | None = None) -> None:
        stamp = next(stamps)
        bad, good = raw(picture(), stamp=stamp), compressed(picture(), stamp=stamp)
        bad.encoding, good.data = "sepia", good.data[:cut]
        for publisher, message in ((unreadable, bad), (readable, good)):
            publisher.publish(message)
            for _ in range(3):  # each is received before the next is sent
                peer.executor.spin_once(timeout_sec=0.02)

    def rejected() -> int:
        return int(status(reports, "front").get("frames_rejected", 0))

    peer.wait_for(lambda: (publish(), len(labels) >= 5)[1], "labels")
    before = peer.wait_for(rejected, "the report of the rejection")
    peer.wait_for(lambda: (publish(cut=-20), rejected() > before)[1], "the report of the broken frame")
    labels.clear()
    peer.wait_for(lambda: (publish(), len(labels) >= 5)[1], "labels after it")


def test_a_calibration_that_was_latched_before_the_node_started_goes_with_the_labels(
    peer: Peer, make_active_node: MakeNode
) -> None:
    peer.publisher(CameraInfo, "/front/camera_info", LATCHED).publish(calibration(16, 12))
    make_active_node(diagnostics_period=3600.0)
    infos, camera = peer.subscribe(CameraInfo, "/front/label/camera_info"), peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    peer.wait_for(lambda: (camera.publish(raw(picture())), infos)[1], "the calibration")


@pytest.mark.parametrize(
    ("given", "fits"),
    [
        (calibration(16, 12), True),
        (calibration(32, 24, binning_x=2, binning_y=2), True),
        (calibration(32, 24), False),
        (calibration(0, 0), False),
    ],
)
def test_only_a_calibration_of_the_size_of_the_images_goes_with_their_labels(
    peer: Peer, make_active_node: MakeNode, given: CameraInfo, fits: bool
) -> None:
    make_active_node()
    infos, driver = (
        peer.subscribe(CameraInfo, "/front/label/camera_info"),
        peer.publisher(CameraInfo, "/front/camera_info"),
    )
    peer.wait_for_match(driver)
    camera = peer.publisher(Image, "/front/image")
    for stamp in range(1, 4):  # the newest calibration counts: it comes while frames do
        driver.publish(given)
        labels = labels_of(peer, camera, [raw(picture(12, 16), stamp=stamp)])
    right = calibration(16, 12)
    right.distortion_model = "right"
    peer.wait_for(lambda: (driver.publish(right), camera.publish(raw(picture())), any(_right(infos)))[2], "a right one")
    assert bool([info for info in infos if info.distortion_model == ""]) == fits
    assert labels


def _right(infos: list[CameraInfo]) -> list[bool]:
    return [info.distortion_model == "right" for info in infos]


def test_diagnostics_name_the_topics_that_nobody_publishes(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node(image_topic="/usb/image_raw")
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    expected = "no frames arrive: nobody publishes /usb/image_raw or /usb/image_raw/compressed"
    peer.wait_for(lambda: status(reports, "front").get("message") == expected, "the topics")


def test_a_camera_that_cannot_be_heard_is_named_in_diagnostics(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node(input_reliability="reliable")
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    peer.publisher(Image, "/front/image", BEST_EFFORT)
    expected = "no frames arrive: /front/image is published at best effort by peer"
    peer.wait_for(lambda: expected in status(reports, "front").get("message", ""), "the reason")


def test_images_of_the_transport_that_is_left_out_are_named_in_diagnostics(
    peer: Peer, make_active_node: MakeNode
) -> None:
    make_active_node(transport="raw")
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    peer.publisher(CompressedImage, "/front/image/compressed")
    expected = "no frames arrive: /front/image/compressed is published, which is not subscribed: set transport to both"
    peer.wait_for(lambda: status(reports, "front").get("message") == expected, "the reason")


def test_a_driver_of_another_name_is_labelled_with_its_compressed_images_and_calibration(
    peer: Peer, make_active_node: MakeNode
) -> None:
    make_active_node(image_topic="/usb/image_raw")
    infos, driver = (
        peer.subscribe(CameraInfo, "/front/label/camera_info"),
        peer.publisher(CameraInfo, "/usb/camera_info"),
    )
    labels, camera = peer.subscribe(Image, "/front/label"), peer.publisher(CompressedImage, "/usb/image_raw/compressed")
    peer.wait_for_match(driver, camera)
    frame = compressed(picture(12, 16))
    peer.wait_for(lambda: (driver.publish(calibration(16, 12)), camera.publish(frame), labels and infos)[2], "both")


REMAPPED = [
    ([], ("", ""), ("/front/image", "/front/image/compressed", "/front/camera_info")),
    (["front/image:=/usb/raw"], ("", ""), ("/usb/raw", "/usb/raw/compressed", "/usb/camera_info")),
    (["front/camera_info:=/c/info"], ("", ""), ("/front/image", "/front/image/compressed", "/c/info")),
    (
        ["front/image:=/usb/raw", "front/image/compressed:=/jpeg", "front/camera_info:=/info"],
        ("", ""),
        ("/usb/raw", "/jpeg", "/info"),
    ),
    ([], ("/usb/raw", ""), ("/usb/raw", "/usb/raw/compressed", "/usb/camera_info")),
    ([], ("/usb/raw", "front/camera_info"), ("/usb/raw", "/usb/raw/compressed", "/front/camera_info")),
    ([], ("raw", ""), ("/raw", "/raw/compressed", "/camera_info")),
]


@pytest.mark.parametrize(("remaps", "given", "expected"), REMAPPED)
def test_compressed_images_and_calibration_follow_the_images(
    ros: None, remaps: list[str], given: tuple[str, str], expected: tuple[str, str, str]
) -> None:
    words = [word for remap in remaps for word in ("-r", remap)]
    node = Node("names", cli_args=["--ros-args", *words] if words else None)
    try:
        assert camera_topics(node, "front", *given) == expected
    finally:
        node.destroy_node()


def test_one_topic_for_each_camera_or_none(make_node: MakeNode) -> None:
    node = make_node(cameras=["left", "right"], image_topic="/usb/image_raw")
    assert node.trigger_configure().name == "FAILURE"
    node = make_node(cameras=["left", "right"], image_topic="/a/image_raw, /b/image_raw")
    assert node.trigger_configure().name == "SUCCESS"
    assert node._parameter_reader.read().topics_of("right") == ("/b/image_raw", "")


@pytest.mark.parametrize("name", ["image_topic", "camera_info_topic"])
def test_what_is_no_topic_fails_configure_with_its_name(make_node: MakeNode, name: str) -> None:
    node = make_node(**{name: "/usb/front camera"})
    assert node.trigger_configure().name == "FAILURE"
    with pytest.raises(QueryDiffError, match=f"^Parameter {name} holds '/usb/front camera', which is no topic: topic"):
        node._parameter_reader.read()
