"""The node over real DDS: what goes in and what comes out, camera by camera."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engines import expected_labels, write_labels_only_engine
from image_messages import compressed, picture, pixels, raw, stamped
from peer import BEST_EFFORT, PATIENCE, RELIABLE, Peer
from rclpy.lifecycle import TransitionCallbackReturn
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, CompressedImage, Image
from std_msgs.msg import String

from querydiff_core.label_space import cityscapes
from querydiff_ros.node.camera_frame import CameraFrame
from querydiff_ros.node.camera_statistics import Outcome

MakeNode = Callable[..., Any]
LATCHED = QoSProfile(depth=1, reliability=ReliabilityPolicy.RELIABLE, durability=DurabilityPolicy.TRANSIENT_LOCAL)


@pytest.mark.parametrize(("encoding", "padding"), [("rgb8", 0), ("bgr8", 0), ("bgra8", 0), ("mono8", 0), ("bgr8", 5)])
def test_raw_frames_are_labelled(peer: Peer, make_active_node: MakeNode, encoding: str, padding: int) -> None:
    make_active_node()
    rgb = picture(red=None if encoding != "mono8" else 44)
    message = raw(rgb, encoding, stamp=7, padding=padding)
    label = peer.label_of(Image, "/front/image", message)
    assert (label.encoding, label.step, label.header) == ("mono8", label.width, message.header)
    np.testing.assert_array_equal(pixels(label), expected_labels(rgb))


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_compressed_frames_are_labelled(peer: Peer, make_active_node: MakeNode, suffix: str) -> None:
    make_active_node()
    rgb = picture(red=100)
    message = compressed(rgb, suffix, stamp=7)
    label = peer.label_of(CompressedImage, "/front/image/compressed", message)
    assert label.header == message.header
    np.testing.assert_array_equal(pixels(label), expected_labels(rgb))


def test_every_output_carries_the_header_of_its_frame(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node(overlay_opacity=0.5)
    topics = {"label": Image, "confidence": Image, "overlay": Image, "overlay/compressed": CompressedImage}
    outputs = {name: peer.subscribe(kind, f"/front/{name}") for name, kind in topics.items()}
    outputs["label/camera_info"] = peer.subscribe(CameraInfo, "/front/label/camera_info")
    camera, info = peer.publisher(Image, "/front/image"), peer.publisher(CameraInfo, "/front/camera_info")
    peer.wait_for_match(camera, info)
    peer.wait_for(lambda: all(peer.node.count_publishers(f"/front/{name}") for name in outputs), "the outputs")
    rgb = picture()
    calibration = stamped(CameraInfo(height=12, width=16, k=[float(i) for i in range(9)]), 7, "front")
    info.publish(calibration)
    node_has_it = raw(rgb, stamp=6)
    peer.wait_for(lambda: (camera.publish(node_has_it), outputs["label/camera_info"])[1], "calibration")
    for messages in outputs.values():
        messages.clear()
    camera.publish(raw(rgb, stamp=7))
    for name, messages in outputs.items():
        output = peer.wait_for(lambda m=messages: next((x for x in m if x.header.stamp.sec == 7), None), name)
        assert output.header == calibration.header, name
    np.testing.assert_array_equal(pixels(outputs["confidence"][-1]), rgb[..., 1])
    assert outputs["label/camera_info"][-1] == calibration
    blended = (rgb.astype(int) + cityscapes().paint(expected_labels(rgb))) / 2
    assert np.abs(pixels(outputs["overlay"][-1]) - blended).max() <= 1
    assert outputs["overlay/compressed"][-1].format == "rgb8; jpeg compressed bgr8"


def test_an_engine_without_confidence_labels_and_the_node_says_what_is_missing(
    peer: Peer, make_active_node: MakeNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    node = make_active_node(engine=str(write_labels_only_engine(tmp_path / "labels.onnx")))
    assert "No confidence is published: the engine was exported with --labels-only" in capfd.readouterr().err
    rgb = picture()
    np.testing.assert_array_equal(pixels(peer.label_of(Image, "/front/image", raw(rgb))), expected_labels(rgb))
    assert "/front/confidence" not in {publisher.topic_name for publisher in node.publishers}


def test_overlays_cost_nothing_while_nobody_watches(
    peer: Peer, make_active_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr("querydiff_ros.node.camera_output.overlay", lambda *arguments: drawn.append(arguments))
    node = make_active_node()
    peer.label_of(Image, "/front/image", raw(picture()))
    assert node.trigger_deactivate() == TransitionCallbackReturn.SUCCESS  # once the worker has done all it would
    assert drawn == []


def test_confidence_can_be_switched_off(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node(publish_confidence=False)
    peer.label_of(Image, "/front/image", raw(picture()))
    assert peer.node.count_publishers("/front/confidence") == 0


def test_two_cameras_of_different_sizes(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node(cameras=["front", "/vehicle/rear"])
    sizes = {"/front": (12, 16), "/vehicle/rear": (7, 31)}
    labels = {name: peer.subscribe(Image, f"{name}/label") for name in sizes}
    cameras = {name: peer.publisher(Image, f"{name}/image") for name in sizes}
    peer.wait_for_match(*cameras.values())
    peer.wait_for(lambda: all(peer.node.count_publishers(f"{name}/label") for name in sizes), "labels")
    for stamp in range(3):
        for name, camera in cameras.items():
            camera.publish(raw(picture(*sizes[name]), stamp=stamp, frame_id=name))
        for name, messages in labels.items():
            peer.wait_for(lambda m=messages, s=stamp: len(m) > s, name)
            assert messages[stamp].header.frame_id == name
            np.testing.assert_array_equal(pixels(messages[stamp]), expected_labels(picture(*sizes[name])))


def test_a_camera_of_a_size_that_the_engine_cannot_take_leaves_the_others_their_labels(
    peer: Peer, make_active_node: MakeNode, pixel_engine: Path, tmp_path: Path
) -> None:
    model = onnx.load(pixel_engine)
    for dimension, side in zip(model.graph.input[0].type.tensor_type.shape.dim[1:3], (64, 128), strict=True):
        dimension.dim_value = side
    onnx.save(model, tmp_path / "fixed.onnx")
    node = make_active_node(cameras=["wrong", "right"], engine=str(tmp_path / "fixed.onnx"))
    labels = peer.subscribe(Image, "/right/label")
    peer.wait_for(lambda: peer.node.count_publishers("/right/label"), "the labels' topic")
    frames = {"wrong": picture(32, 64), "right": picture(64, 128)}

    def label() -> list[Image]:
        node._labeller.label({name: CameraFrame(f"/{name}/image", raw(rgb), 0.0) for name, rgb in frames.items()})
        return labels

    np.testing.assert_array_equal(pixels(peer.wait_for(label, "a label")[0]), expected_labels(frames["right"]))


def test_a_camera_without_a_namespace(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node(cameras=[""])
    peer.label_of(Image, "/image", raw(picture()), output="/label")


def test_a_frame_that_comes_by_both_transports_counts_once(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node()
    labels = peer.subscribe(Image, "/front/label")
    plain = peer.publisher(Image, "/front/image")
    packed = peer.publisher(CompressedImage, "/front/image/compressed")
    packed_stamps: list[int] = []
    camera_input = node._labeller._inputs["front"]
    (subscription,) = (s for s in camera_input._subscriptions if s.msg_type is CompressedImage)
    receive = subscription.callback

    def receive_and_tell(message: CompressedImage) -> None:
        receive(message)
        packed_stamps.append(message.header.stamp.sec)

    subscription.callback = receive_and_tell
    peer.wait_for_match(plain, packed)
    peer.wait_for(lambda: peer.node.count_publishers("/front/label"), "label")
    for stamp in range(1, 6):
        plain.publish(raw(picture(), stamp=stamp))
        peer.wait_for(lambda s=stamp: labels and labels[-1].header.stamp.sec == s, "label")
        if stamp > 2:
            packed.publish(compressed(picture(), stamp=stamp - 2))  # encoding takes its time
            peer.wait_for(lambda s=stamp - 2: s in packed_stamps, "the packed frame")
    packed.publish(compressed(picture(), stamp=6))
    peer.wait_for(lambda: labels[-1].header.stamp.sec == 6, "the label of a frame that comes packed only")
    assert [label.header.stamp.sec for label in labels] == [1, 2, 3, 4, 5, 6]
    assert node._labeller._statistics["front"].total(Outcome.RECEIVED) == 6


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_one_transport_subscribes_to_one_topic(peer: Peer, make_active_node: MakeNode, transport: str) -> None:
    make_active_node(transport=transport)
    wanted, other = "/front/image", "/front/image/compressed"
    if transport == "compressed":
        wanted, other = other, wanted
    peer.wait_for(lambda: peer.node.count_subscribers(wanted), wanted)
    assert peer.node.count_subscribers(other) == 0


@pytest.mark.parametrize("input_reliability", ["best_effort", "reliable"])
@pytest.mark.parametrize("output_reliability", ["best_effort", "reliable"])
def test_quality_of_service_is_what_was_asked(
    peer: Peer, make_active_node: MakeNode, input_reliability: str, output_reliability: str
) -> None:
    make_active_node(input_reliability=input_reliability, output_reliability=output_reliability)
    wanted_in, wanted_out = ReliabilityPolicy[input_reliability.upper()], ReliabilityPolicy[output_reliability.upper()]
    (reader,) = peer.wait_for(lambda: peer.node.get_subscriptions_info_by_topic("/front/image"), "image")
    assert reader.qos_profile.reliability == wanted_in
    for name in ("label", "confidence", "overlay", "overlay/compressed", "label/camera_info"):
        topic = f"/front/{name}"
        (writer,) = peer.wait_for(lambda t=topic: peer.node.get_publishers_info_by_topic(t), topic)
        assert writer.qos_profile.reliability == wanted_out
    exact = BEST_EFFORT if output_reliability == "best_effort" else RELIABLE
    labels = peer.subscribe(Image, "/front/label", exact)
    camera = peer.publisher(Image, "/front/image", BEST_EFFORT if input_reliability == "best_effort" else RELIABLE)
    peer.wait_for_match(camera)
    peer.wait_for(lambda: (camera.publish(raw(picture())), labels)[1], "a label")


def test_the_classes_are_latched(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node()
    maps = peer.subscribe(String, "/front/label_map", LATCHED)
    (message,) = peer.wait_for(lambda: maps, "label_map")
    label_map = json.loads(message.data)
    assert label_map["unlabelled"] == 255
    assert label_map["classes"][0] == {"id": 0, "name": "road", "color": [128, 64, 128]}
    assert [c["name"] for c in label_map["classes"]] == list(cityscapes().names)


def test_label_info_is_latched_where_vision_msgs_exists(peer: Peer, make_active_node: MakeNode) -> None:
    vision_msgs = pytest.importorskip("vision_msgs.msg", reason="vision_msgs comes with a ROS distribution only")
    make_active_node()
    infos = peer.subscribe(vision_msgs.LabelInfo, "/front/label_info", LATCHED)
    (message,) = peer.wait_for(lambda: infos, "label_info")
    assert [(c.class_id, c.class_name) for c in message.class_map] == list(enumerate(cityscapes().names))


def test_stale_frames_are_dropped(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node(max_age=3600.0)
    labels = peer.subscribe(Image, "/front/label")
    camera = peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    camera.publish(raw(picture(), stamp=1))
    statistics = node._labeller._statistics["front"]
    peer.wait_for(lambda: statistics.total(Outcome.STALE), "the verdict")
    fresh = raw(picture())
    fresh.header.stamp = peer.node.get_clock().now().to_msg()
    camera.publish(fresh)
    peer.wait_for(lambda: labels, "the fresh label")
    assert labels[0].header == fresh.header


def test_the_next_frame_is_the_newest_that_arrived(
    peer: Peer, make_active_node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A label is never older than one inference plus one wait: what waits while the engine is busy is replaced."""
    node = make_active_node()
    segmenter, statistics = node._labeller._segmenter, node._labeller._statistics["front"]
    started, go, segment = threading.Semaphore(0), threading.Semaphore(0), segmenter.segment_cameras

    def segment_when_told(images: list[np.ndarray]) -> Any:
        started.release()
        assert go.acquire(timeout=PATIENCE)
        return segment(images)

    monkeypatch.setattr(segmenter, "segment_cameras", segment_when_told)
    labels, camera = peer.subscribe(Image, "/front/label"), peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    peer.wait_for(lambda: peer.node.count_publishers("/front/label"), "label")

    def send(stamps: Iterable[int]) -> None:
        for stamp in stamps:
            received = statistics.total(Outcome.RECEIVED)
            camera.publish(raw(picture(), stamp=stamp))
            peer.wait_for(lambda n=received: statistics.total(Outcome.RECEIVED) > n, "arrival")

    send([1])
    for burst in range(2, 50, 12):  # 12 frames arrive during every inference
        peer.wait_for(lambda: started.acquire(blocking=False), "an inference")
        send(range(burst, burst + 12))
        go.release()
    peer.wait_for(lambda: started.acquire(blocking=False), "the last inference")
    go.release()
    peer.wait_for(lambda: len(labels) == 5, "five labels")
    assert [label.header.stamp.sec for label in labels] == [1, 13, 25, 37, 49]
    assert statistics.total(Outcome.DROPPED) == 4 * 11


def test_simulated_time_decides_what_is_stale(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node(use_sim_time=True, max_age=5.0)
    clock, camera = peer.publisher(Clock, "/clock", BEST_EFFORT), peer.publisher(Image, "/front/image")
    labels = peer.subscribe(Image, "/front/label")
    peer.wait_for_match(clock, camera)
    now = Clock()
    now.clock.sec = 100
    peer.wait_for(lambda: (clock.publish(now), node.get_clock().now().nanoseconds == 100 * 10**9)[1], "simulated time")
    camera.publish(raw(picture(), stamp=94))
    peer.wait_for(lambda: node._labeller._statistics["front"].total(Outcome.STALE), "the verdict")
    peer.wait_for(lambda: (camera.publish(raw(picture(), stamp=96)), labels)[1], "a label")
    assert labels[0].header.stamp.sec == 96
