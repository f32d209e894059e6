"""The life of the node: every order of transitions, failures, and what is there in each state."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnxruntime
import pytest
from image_messages import picture, raw
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from peer import Peer
from rclpy.parameter import Parameter
from sensor_msgs.msg import Image
from std_msgs.msg import String
from students import write_foreign_engine, write_student

from querydiff_core.inference.onnxruntime_engine import PROVIDERS

MakeNode = Callable[..., Any]

TRANSITIONS = {
    "configure": Transition.TRANSITION_CONFIGURE,
    "activate": Transition.TRANSITION_ACTIVATE,
    "deactivate": Transition.TRANSITION_DEACTIVATE,
    "cleanup": Transition.TRANSITION_CLEANUP,
}
POSSIBLE = {
    ("unconfigured", "configure"): "inactive",
    ("inactive", "activate"): "active",
    ("active", "deactivate"): "inactive",
    ("inactive", "cleanup"): "unconfigured",
}
SHUTDOWN = {
    "unconfigured": Transition.TRANSITION_UNCONFIGURED_SHUTDOWN,
    "inactive": Transition.TRANSITION_INACTIVE_SHUTDOWN,
    "active": Transition.TRANSITION_ACTIVE_SHUTDOWN,
}


def change(peer: Peer, transition: int) -> bool:
    request = ChangeState.Request(transition=Transition(id=transition))
    return bool(peer.call(ChangeState, "/segment_node/change_state", request).success)


def state(peer: Peer) -> str:
    return str(peer.call(GetState, "/segment_node/get_state", GetState.Request()).current_state.label)


def reach(peer: Peer, goal: str) -> None:
    for transition in {"unconfigured": [], "inactive": ["configure"], "active": ["configure", "activate"]}[goal]:
        assert change(peer, TRANSITIONS[transition])
    assert state(peer) == goal


def entities(node: Any) -> list[int]:
    return [len(list(each)) for each in (node.publishers, node.subscriptions, node.timers, node.services)]


def test_an_engine_built_elsewhere_is_refused_or_by_option_replaced_by_its_checkpoint(
    peer: Peer, make_node: MakeNode, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    engine = write_foreign_engine(tmp_path / "car.engine", write_student(tmp_path / "tiny.safetensors"))
    node = make_node(engine=str(engine), device="cpu")
    assert node.trigger_configure().name == "FAILURE"
    assert "was built for device cuda (here cpu): use an .onnx engine, or set fallback to run" in capfd.readouterr().err
    assert node.set_parameters([Parameter("fallback", value=True)])[0].successful
    assert node.trigger_configure().name == "SUCCESS"
    assert "tiny loaded and warmed up" in (said := capfd.readouterr().err)
    assert "torch on cpu" in said


def test_a_provider_that_is_not_there_is_refused_with_those_that_are(
    peer: Peer, make_node: MakeNode, capfd: pytest.CaptureFixture[str]
) -> None:
    absent = next(name for name in ("cuda", "tensorrt") if PROVIDERS[name] not in onnxruntime.get_available_providers())
    assert make_node(provider=absent).trigger_configure().name == "FAILURE"
    assert f"needs ONNX Runtime's {PROVIDERS[absent]}, and this one has " in capfd.readouterr().err


def test_openvino_runs_the_engine(peer: Peer, make_node: MakeNode, capfd: pytest.CaptureFixture[str]) -> None:
    assert make_node(provider="openvino").trigger_configure().name == "SUCCESS"
    assert "openvino on cpu" in capfd.readouterr().err


def test_transitions_in_every_order(peer: Peer, make_node: MakeNode) -> None:
    node = make_node()
    bare, expected = entities(node), "unconfigured"
    for transition in itertools.chain.from_iterable(itertools.product(TRANSITIONS, repeat=3)):
        goal = POSSIBLE.get((expected, transition))
        assert change(peer, TRANSITIONS[transition]) == (goal is not None), (expected, transition)
        expected = goal or expected
        assert state(peer) == expected
        subscribed = any(s.topic_name == "/front/image" for s in node.subscriptions)
        assert subscribed == (expected == "active")
    for transition in {"active": ["deactivate", "cleanup"], "inactive": ["cleanup"]}.get(expected, []):
        assert change(peer, TRANSITIONS[transition])
    assert entities(node) == bare


@pytest.mark.parametrize("start", SHUTDOWN)
def test_shutdown_from_every_state_frees_everything(peer: Peer, make_node: MakeNode, start: str) -> None:
    node = make_node()
    bare = entities(node)
    reach(peer, start)
    assert change(peer, SHUTDOWN[start])
    assert state(peer) == "finalized"
    assert entities(node) == bare


def test_labels_flow_again_after_every_restart(peer: Peer, make_node: MakeNode) -> None:
    make_node()
    labels = peer.subscribe(Image, "/front/label")
    camera = peer.publisher(Image, "/front/image")
    for stamp in range(1, 4):
        reach(peer, "active")
        peer.wait_for(
            lambda s=stamp: (camera.publish(raw(picture(), stamp=s)), labels and labels[-1].header.stamp.sec == s)[1],
            f"label {stamp}",
        )
        assert change(peer, TRANSITIONS["deactivate"])
        assert change(peer, TRANSITIONS["cleanup"])


def test_transitions_by_name_and_unknown_ones(peer: Peer, make_node: MakeNode) -> None:
    make_node()
    named = ChangeState.Request(transition=Transition(label="configure"))
    assert peer.call(ChangeState, "/segment_node/change_state", named).success
    for wrong in (Transition(label="explode"), Transition(id=99)):
        request = ChangeState.Request(transition=wrong)
        assert not peer.call(ChangeState, "/segment_node/change_state", request).success
    assert state(peer) == "inactive"


def broken_engines(folder: Path, good: Path) -> dict[str, Path]:
    data = good.read_bytes()
    (folder / "truncated.onnx").write_bytes(data[: len(data) // 2])
    (folder / "text.onnx").write_text("not a model")
    (folder / "foreign.bin").write_bytes(data)
    return {name: folder / name for name in ("missing.onnx", "truncated.onnx", "text.onnx", "foreign.bin")}


@pytest.mark.parametrize("name", ["missing.onnx", "truncated.onnx", "text.onnx", "foreign.bin"])
def test_a_broken_engine_fails_configure_and_a_good_one_follows(
    peer: Peer, make_node: MakeNode, pixel_engine: Path, tmp_path: Path, name: str
) -> None:
    node = make_node(engine=str(broken_engines(tmp_path, pixel_engine)[name]))
    bare = entities(node)
    assert not change(peer, TRANSITIONS["configure"])
    assert state(peer) == "unconfigured"
    assert entities(node) == bare
    node.set_parameters([Parameter("engine", value=str(pixel_engine))])
    reach(peer, "active")


def test_a_refused_topic_fails_the_transition_and_leaves_nothing_behind(peer: Peer, make_node: MakeNode) -> None:
    node = make_node()
    for topic, goal, transition in (
        ("/front/overlay/compressed", "unconfigured", "configure"),
        ("/front/image/compressed", "inactive", "activate"),
    ):
        before, threads = entities(node), threading.active_count()
        foreign = peer.publisher(String, topic)  # Fast DDS refuses a second type on a topic of the same process
        assert not change(peer, TRANSITIONS[transition])
        assert state(peer) == goal
        assert (entities(node), threading.active_count()) == (before, threads)
        peer.node.destroy_publisher(foreign)
        assert change(peer, TRANSITIONS[transition])
    labels, camera = peer.subscribe(Image, "/front/label"), peer.publisher(Image, "/front/image")
    peer.wait_for(lambda: (camera.publish(raw(picture())), labels)[1], "a label")


def test_the_engine_is_freed_on_cleanup(peer: Peer, make_node: MakeNode) -> None:
    node = make_node()
    reach(peer, "inactive")
    segmenter = node._labeller._segmenter
    assert change(peer, TRANSITIONS["cleanup"])
    assert node._labeller is None
    with pytest.raises(Exception, match="closed"):
        segmenter(picture())
