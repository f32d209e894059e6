"""What the node says on /diagnostics of good frames, bad ones, and an engine that fails."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from diagnostic_msgs.msg import DiagnosticArray
from image_messages import compressed, picture, raw
from peer import Peer
from sensor_msgs.msg import CompressedImage, Image

MakeNode = Callable[..., Any]


def status(messages: list[DiagnosticArray], name: str) -> dict[str, str]:
    """Return level, message and values of the newest status called `name`."""
    for message in reversed(messages):
        for each in message.status:
            if each.name == f"segment_node: {name}":
                values = {value.key: value.value for value in each.values}
                return {"level": str(each.level[0]), "message": each.message, **values}
    return {}


def test_diagnostics_tell_what_became_of_the_frames(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node()
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    camera = peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    peer.wait_for(lambda: status(reports, "front").get("message") == "no frames arrive", "a report on silence")
    camera.publish(raw(picture(red=51)))
    peer.wait_for(lambda: status(reports, "front")["frames_labelled"] == "1", "a report on the label")
    front, engine = status(reports, "front"), status(reports, "engine")
    assert front["frames_received"] == "1"
    assert [front[f"frames_{name}"] for name in ("dropped", "stale", "rejected", "failed", "lost")] == ["0"] * 5
    assert front["mean_confidence"] == "0.200"  # 51 of 255
    assert float(front["latency_from_arrival_p50_ms"]) <= float(front["latency_from_arrival_p99_ms"])
    assert float(front["latency_from_stamp_p50_ms"]) > 1e9  # the stamp is from 1970
    assert engine["engine"] == "onnxruntime"
    assert engine["device"] == "cpu"
    assert engine["variant"] == "pixel"
    assert engine["message"] == "active"


BAD_FRAMES = {
    "truncated": {"data": raw(picture()).data[:-1]},
    "oversized": {"data": raw(picture()).data * 2},
    "no pixels": {"height": 0},
    "small step": {"step": 3},
    "unknown encoding": {"encoding": "sepia"},
}


@pytest.mark.parametrize("fault", BAD_FRAMES)
def test_a_bad_frame_is_reported_and_the_next_labelled(peer: Peer, make_active_node: MakeNode, fault: str) -> None:
    make_active_node()
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    camera = peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    bad = raw(picture(), stamp=1)
    for name, value in BAD_FRAMES[fault].items():
        setattr(bad, name, value)
    camera.publish(bad)
    peer.wait_for(lambda: status(reports, "front").get("frames_rejected") == "1", "the rejection")
    assert status(reports, "front")["last_rejection"]
    label = peer.label_of(Image, "/front/image", raw(picture(), stamp=2))
    assert label.header.stamp.sec == 2


def test_an_undecodable_jpeg_is_reported_and_the_next_labelled(peer: Peer, make_active_node: MakeNode) -> None:
    make_active_node()
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    camera = peer.publisher(CompressedImage, "/front/image/compressed")
    peer.wait_for_match(camera)
    bad = compressed(picture(), ".jpg", stamp=1)
    bad.data = bad.data[: len(bad.data) // 2]
    camera.publish(bad)
    peer.wait_for(lambda: "truncated" in status(reports, "front").get("last_rejection", ""), "the rejection")
    peer.label_of(CompressedImage, "/front/image/compressed", compressed(picture(), stamp=2))


def test_an_engine_that_fails_is_reported_and_tried_again(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node()
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    camera = peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    node._labeller._segmenter.close()  # a closed engine raises at every call
    for stamp in (1, 2):
        camera.publish(raw(picture(), stamp=stamp))
        peer.wait_for(lambda s=stamp: status(reports, "engine").get("errors") == str(s), "the error")
    assert "closed" in status(reports, "engine")["last_error"]
    assert status(reports, "front")["frames_failed"] == "2"
    peer.wait_for(lambda: any(s.level == b"\x02" for m in reports for s in m.status), "the level ERROR")


def test_a_frame_whose_label_cannot_be_published_counts_as_failed(peer: Peer, make_active_node: MakeNode) -> None:
    node = make_active_node()
    reports = peer.subscribe(DiagnosticArray, "/diagnostics")
    camera = peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    node._labeller._outputs["front"].close()  # its publishers are gone
    camera.publish(raw(picture()))
    peer.wait_for(lambda: status(reports, "front").get("frames_failed") == "1", "the failure")
    assert status(reports, "front")["frames_labelled"] == "0"
