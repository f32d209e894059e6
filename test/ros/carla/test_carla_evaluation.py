"""The three interfaces of CARLA, each through the stand-in bridge, the real node and the real evaluation, over DDS."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from carla_run import SIZE, evaluation_node, frame, frame_index, iou_by_hand, play, segment_node
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from image_messages import raw
from peer import BEST_EFFORT, Peer
from rclpy.node import Node
from sensor_msgs.msg import Image
from shifted_engine import write_shifted_engine
from std_msgs.msg import Float32, String

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.utils.file_hash import file_hash
from querydiff_ros.carla.interface import INTERFACES, SEMANTIC, CarlaInterface, carla_interface
from querydiff_ros.carla.semantics import semantic_pixels
from querydiff_ros.common.image_conversions import image_message
from querydiff_ros.common.topics import LATCHED

SHIFT = 3
FRAMES = [frame(index) for index in range(6)]
each_interface = pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.version)


def scored(peer: Peer, spin: Callable[[Node], Any], interface: CarlaInterface, engine: Path, output: Path) -> Result:
    """Return the Result of the six frames through all of it."""
    spin(segment_node(interface, engine))
    node = spin(evaluation_node(interface.version, output=str(output), save_period=0.0))
    peer.wait_for(lambda: peer.node.count_subscribers("/front/label"), "the evaluation")
    peer.wait_for(lambda: "variant" in node.model, "what the segment node tells of its engine")
    play(peer, interface, FRAMES)
    peer.wait_for(lambda: node.scores.frames >= len(FRAMES) - 1, "the scores")  # discovery may cost the first
    peer.wait_for(lambda: output.is_file() and Result.load(output).images == node.scores.frames, "the Result file")
    return Result.load(output)


@each_interface
def test_an_oracle_scores_exactly_one(
    peer: Peer, spin: Callable[[Node], Any], interface: CarlaInterface, pixel_engine: Path, tmp_path: Path
) -> None:
    scores = peer.subscribe(String, "/carla_evaluation/scores", LATCHED)
    miou = peer.subscribe(Float32, "/carla_evaluation/miou", LATCHED)
    result = scored(peer, spin, interface, pixel_engine, tmp_path / "result.json")
    (domain,) = result.domains
    assert (domain.name, domain.mapping, result.miou) == ("clear", interface.mapping_name, 1.0)
    assert set(domain.iou_by_class.values()) == {1.0}
    assert (domain.pixel_accuracy, domain.ece) == (1.0, 0.0)
    expected = {"file": "pixel.onnx", "path": str(pixel_engine), "sha256": file_hash(pixel_engine), "variant": "pixel"}
    assert expected.items() <= result.model.items()
    assert result.data[0]["carla_version"] == interface.version
    told = peer.wait_for(
        lambda: next((t for m in scores if (t := json.loads(m.data))["frames"] == result.images), None), "the scores"
    )
    assert (told["miou"], told["condition"], told["rejected"]) == (1.0, "clear", 0)
    assert told["by_condition"] == {"clear": {"frames": result.images, "miou": 1.0}}
    assert peer.wait_for(lambda: miou, "the mIoU")[-1].data == 1.0


@each_interface
def test_a_shifted_oracle_scores_what_arithmetic_says(
    peer: Peer, spin: Callable[[Node], Any], interface: CarlaInterface, tmp_path: Path
) -> None:
    engine = write_shifted_engine(tmp_path / "shifted.onnx", SHIFT)
    (domain,) = scored(peer, spin, interface, engine, tmp_path / "result.json").domains
    assert domain.by_image
    ground_truth = [FRAMES[frame_index(image.name)].labels for image in domain.by_image]
    expected = iou_by_hand([np.roll(t % 19, SHIFT, 1) for t in ground_truth], ground_truth, interface.mapping)
    assert domain.iou_by_class == pytest.approx(expected, abs=0)
    assert domain.miou == pytest.approx(np.mean(list(expected.values())), abs=1e-12)
    assert 0.0 < domain.miou < 1.0


class Cameras:
    """Both ends of the evaluation, played by hand."""

    def __init__(self, peer: Peer, spin: Callable[[Node], Any], version: str, **told: Any) -> None:
        self.node = spin(evaluation_node(version, use_confidence=False, **told))
        self.topic = self.node.ground_truth_topic
        self._peer, self._interface = peer, carla_interface(version)
        self._label, self._ground_truth = peer.publisher(Image, "/front/label"), peer.publisher(Image, self.topic)
        self._diagnostics = peer.subscribe(DiagnosticArray, "/diagnostics")
        peer.wait_for_match(self._label, self._ground_truth)

    def label(self, labels: np.ndarray, stamp: int) -> None:
        self._label.publish(raw(labels[..., None].repeat(3, -1), "mono8", stamp))

    def ground_truth(self, pixels: np.ndarray, stamp: int) -> None:
        message = image_message(pixels, "bgra8", raw(np.zeros((1, 1, 3), np.uint8), stamp=stamp).header)
        self._ground_truth.publish(message)

    def semantic(self, labels: np.ndarray, stamp: int) -> None:
        self.ground_truth(semantic_pixels(labels, np.zeros(labels.shape, bool), self._interface), stamp)

    def complaint(self, text: str) -> str:
        """Return the newest message of the evaluation's diagnostics that holds `text`."""

        def find() -> str:
            levels = (DiagnosticStatus.WARN, DiagnosticStatus.ERROR)
            return next((s.message for s in reversed(self.told()) if text in s.message and s.level in levels), "")

        return str(self._peer.wait_for(find, text))

    def told(self) -> list[DiagnosticStatus]:
        """Return what the evaluation's diagnostics have told, newest last."""
        return [s for m in self._diagnostics for s in m.status if s.name == "carla_evaluation: front"]


LABELS = FRAMES[0].labels


def test_the_result_names_the_model_of_its_camera_alone(spin: Callable[[Node], Any]) -> None:
    """Other cameras may be labelled by a segment_node of their own, with another engine."""
    node = spin(evaluation_node("0.9.16"))
    note = next(each.callback for each in node.subscriptions if each.topic_name == "/diagnostics")
    for camera, engine in (("front", "openvino"), ("rear", "onnxruntime")):
        values = {"model": "default", "engine": engine, "variant": "small", "device": "cpu"}
        told = [KeyValue(key=key, value=value) for key, value in values.items()]
        statuses = [DiagnosticStatus(name="segment_node: engine", values=told)]
        note(DiagnosticArray(status=[*statuses, DiagnosticStatus(name=f"segment_node: {camera}")]))
    assert node.model["engine"] == "openvino"


def test_colours_of_no_table_are_listed_with_their_pixels(peer: Peer, spin: Callable[[Node], Any]) -> None:
    cameras = Cameras(peer, spin, "0.9.13")
    pixels = np.full((*SIZE, 4), 255, np.uint8)
    pixels[..., :3] = (128, 64, 128)
    pixels[0, :7, :3], pixels[1, :2, :3] = (3, 2, 1), (6, 5, 4)
    cameras.label(LABELS, 1)
    cameras.ground_truth(pixels, 1)
    assert cameras.complaint("not in the table") == (
        f"{cameras.topic}: 9 of {LABELS.size} pixels are not in the table of CARLA 0.9.13 (RGB 1 2 3: 7 pixels, "
        "RGB 4 5 6: 2 pixels): give the carla_version that is running."
    )
    cameras.label(LABELS, 2)
    cameras.semantic(LABELS, 2)
    peer.wait_for(lambda: cameras.node.scores.frames == 1, "life after it")


@pytest.mark.parametrize(("told", "running", "found"), [("0.9.13", "0.9.15", "tags"), ("0.9.16", "0.9.13", "colours")])
def test_another_version_than_told_is_noticed(
    peer: Peer, spin: Callable[[Node], Any], told: str, running: str, found: str
) -> None:
    cameras = Cameras(peer, spin, told)
    road = np.zeros(SIZE, np.uint8)
    cameras.label(road, 1)
    cameras.ground_truth(semantic_pixels(road, np.zeros(SIZE, bool), carla_interface(running)), 1)
    complaint = cameras.complaint(f"found {found}")
    color = "RGB 1 0 0" if found == "tags" else "RGB 128 64 128"
    assert f"({color}: {road.size} pixels): give the carla_version that is running." in complaint


def test_another_size_is_one_sentence(peer: Peer, spin: Callable[[Node], Any]) -> None:
    cameras = Cameras(peer, spin, "0.9.13")
    cameras.label(np.zeros((600, 800), np.uint8), 1)
    cameras.semantic(np.zeros((70, 400), np.uint8), 1)
    assert cameras.complaint("one size") == (
        f"front/label has 800 x 600 pixels and {cameras.topic} 400 x 70: give the RGB and the semantic camera one size "
        "in CARLA."
    )


def test_another_encoding_is_one_sentence(peer: Peer, spin: Callable[[Node], Any]) -> None:
    cameras = Cameras(peer, spin, "0.9.16")
    cameras.label(LABELS, 1)
    cameras._ground_truth.publish(raw(FRAMES[0].image, "rgb8", 1))
    assert cameras.complaint("bgra8") == f"{cameras.topic}: expected the encoding bgra8, found 'rgb8'."


def test_no_stamps_in_common_is_one_sentence(peer: Peer, spin: Callable[[Node], Any]) -> None:
    cameras = Cameras(peer, spin, "0.9.15", waiting=4)
    for stamp in range(1, 5):
        cameras.label(LABELS, stamp)
        cameras.semantic(LABELS, stamp + 100)
    newest = f"front/label at 4.000 s, {cameras.topic} at 104.000 s"
    assert cameras.complaint(newest) == (
        f"No stamps are equal ({newest}): the cameras must belong to one simulation, with the same sensor_tick and the "
        "labels from its images."
    )


def test_a_missing_camera_is_named_beside_those_there(
    peer: Peer, spin: Callable[[Node], Any], capfd: pytest.CaptureFixture[str]
) -> None:
    cameras = Cameras(peer, spin, "0.9.16", semantic_topic="/carla/hero/nowhere/image", waiting=1)
    other = peer.publisher(Image, carla_interface("0.9.16").topic(SEMANTIC))
    assert other.topic_name in cameras.complaint(f"topics of images: /carla/hero/nowhere/image, {other.topic_name}")
    missing = "no images arrive on /carla/hero/nowhere/image"
    assert cameras.complaint(missing)
    log = capfd.readouterr().err
    assert missing not in log
    for stamp in (1, 2, 3):  # that labels wait in vain belongs into the log too
        cameras.label(LABELS, stamp)

    def is_logged() -> bool:
        nonlocal log
        log += capfd.readouterr().err
        return f"Nothing is scored: {missing}" in log

    peer.wait_for(is_logged, "the warning")
    stamps = count(4)

    def is_scoring() -> bool:
        stamp = next(stamps)
        cameras.label(LABELS, stamp)
        cameras.semantic(LABELS, stamp)
        return cameras.told()[-1].message == "scoring"

    def is_missed_again() -> bool:  # the ground truth has died, while labels go on
        cameras.label(LABELS, next(stamps))
        return cameras.told()[-1].message.startswith(missing)

    peer.wait_for(is_scoring, "the report of scores")
    peer.wait_for(is_missed_again, "the report of silence")


def test_scores_are_split_by_weather(peer: Peer, spin: Callable[[Node], Any]) -> None:
    cameras = Cameras(peer, spin, "0.9.16", condition="unknown")
    scores = peer.subscribe(String, "/carla_evaluation/scores", LATCHED)
    weather = peer.publisher(String, "/condition", LATCHED)
    wrong = (LABELS + 1) % 19
    for stamp, (condition, labels) in enumerate({"unknown": LABELS, "fog": wrong}.items(), 1):
        if condition != "unknown":
            weather.publish(String(data=condition))
        peer.wait_for(lambda c=condition: scores and json.loads(scores[-1].data)["condition"] == c, condition)
        cameras.label(labels, stamp)
        cameras.semantic(LABELS, stamp)
        peer.wait_for(lambda n=stamp: cameras.node.scores.frames == n, "the score")
    unknown, fog = cameras.node.scores.domains
    assert (unknown.name, unknown.miou) == ("unknown", 1.0)
    assert (fog.name, fog.miou) == ("fog", 0.0)


def test_ground_truth_at_best_effort_is_received_when_told(peer: Peer, spin: Callable[[Node], Any]) -> None:
    node = spin(evaluation_node("0.9.16", use_confidence=False, semantic_reliability="best_effort"))
    ground_truth = peer.publisher(Image, node.ground_truth_topic, BEST_EFFORT)
    label = peer.publisher(Image, "/front/label")
    peer.wait_for_match(ground_truth, label)
    pixels = semantic_pixels(LABELS, np.zeros(SIZE, bool), node.interface)
    message = raw(LABELS[..., None].repeat(3, -1), "mono8", 3)
    label.publish(message)
    image = image_message(pixels, "bgra8", message.header)
    peer.wait_for(lambda: (ground_truth.publish(image), node.scores.frames)[1], "the score")


def test_a_simulation_that_starts_again_is_scored_again(peer: Peer, spin: Callable[[Node], Any]) -> None:
    cameras = Cameras(peer, spin, "0.9.16")
    for frames in (1, 2):
        cameras.label(LABELS, 7)
        cameras.semantic(LABELS, 7)
        peer.wait_for(lambda n=frames: cameras.node.scores.frames == n, "the score")
    (domain,) = cameras.node.scores.domains
    assert domain.by_image
    assert [image.name for image in domain.by_image] == ["7.000000500", "7.000000500 (2)"]


@pytest.mark.parametrize(
    ("told", "sentence"),
    [
        ({"version": ""}, "carla_version must be one of 0.9.13 .*, found ''"),
        ({"version": "0.9.16", "waiting": "many"}, "Parameter waiting must be an integer, found 'many'."),
        (
            {"version": "0.9.16", "semantic_reliability": "so so"},
            "must be one of reliable, best_effort, found 'so so'.",
        ),
        ({"version": "0.9.16", "publish_period": 0.0}, "Parameter publish_period must be at least 0.01, found 0.0."),
        ({"version": "0.9.16", "output": "/dev/null/result.json"}, "Cannot write /dev/null/result.json: "),
    ],
)
def test_wrong_parameters_are_one_sentence(ros: None, told: dict[str, Any], sentence: str) -> None:
    with pytest.raises(QueryDiffError, match=sentence):
        evaluation_node(**told)


def test_a_disk_that_fails_later_costs_nothing_measured(
    peer: Peer, spin: Callable[[Node], Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    folder = tmp_path / "results"
    cameras = Cameras(peer, spin, "0.9.16", output="~/results/result.json", save_period=0.0)
    folder.write_text("in the way")
    for stamp in (1, 2):
        cameras.label(LABELS, stamp)
        cameras.semantic(LABELS, stamp)
        peer.wait_for(lambda n=stamp: cameras.node.scores.frames == n, "the score")
    folder.unlink()
    peer.wait_for((folder / "result.json").is_file, "the next try")
    peer.wait_for(lambda: Result.load(folder / "result.json").images == 2, "both frames")


def test_what_takes_long_to_save_is_saved_less_often_and_at_the_end(ros: None, tmp_path: Path) -> None:
    node = evaluation_node("0.9.16", output=str(tmp_path / "result.json"), save_period=0.0)
    result, saved = node._result, []

    def slow_result() -> Result:
        time.sleep(0.3)  # of a drive of ten minutes
        saved.append(node.scores.frames)
        return result()

    node._result = slow_result  # type: ignore[method-assign]
    for name in "abc":
        node.scores.update("clear", LABELS, None, LABELS, name)
        node._unsaved = True
        node._report()
    assert saved == [1]  # the next is due after half a minute
    node.destroy_node()
    assert saved == [1, 3]
