"""The stand-in bridge: what it puts on the wire for each of CARLA's interfaces, and its command."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from carla_run import StandInThread, frame
from peer import PATIENCE, Peer
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image
from std_msgs.msg import String

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.street_scenes import DriveFrame
from querydiff_ros.carla.interface import INTERFACES, RGB, SEMANTIC, CarlaInterface, carla_interface
from querydiff_ros.common.stamps import header_stamp_ns
from querydiff_ros.common.topics import LATCHED

each_interface = pytest.mark.parametrize("interface", INTERFACES, ids=lambda interface: interface.version)

# Written down once more, from CARLA: trainId to colour (up to 0.9.13) and to tag (from 0.9.14); 13 to 18 are vehicles.
COLORS = [
    (128, 64, 128), (244, 35, 232), (70, 70, 70), (102, 102, 156), (100, 40, 40), (153, 153, 153), (250, 170, 30),
    (220, 220, 0), (107, 142, 35), (145, 170, 100), (70, 130, 180), (220, 20, 60), (220, 20, 60), *[(0, 0, 142)] * 6,
]  # fmt: skip
ROAD_LINE = {"0.9.13": (157, 234, 50), "0.9.15": (24, 0, 0), "0.9.16": (24, 0, 0)}


def every_class() -> DriveFrame:
    """Return a frame whose column is the trainId, 19 unlabelled; the road is dark, with a line in the middle."""
    labels = np.tile(np.arange(20, dtype=np.uint8), (40, 1))
    labels[labels == 19] = 255
    dark = frame(labels=labels)
    dark.image[:], dark.image[20:22] = 40, 230
    return dark


@pytest.fixture
def messages(peer: Peer, interface: CarlaInterface) -> dict[str, list[Any]]:
    """Return what arrives, by topic, of three frames with all classes, once they have."""
    topics = {interface.topic(camera): Image for camera in (RGB, SEMANTIC)}
    topics |= {interface.topic(camera, kind="camera_info"): CameraInfo for camera in (RGB, SEMANTIC)}
    received = {topic: peer.subscribe(kind, topic) for topic, kind in {**topics, "/clock": Clock}.items()}
    received["/condition"] = peer.subscribe(String, "/condition", LATCHED)
    shown = every_class()
    # Slow enough for the queues of one frame; the first may come before discovery is through.
    frames = [DriveFrame(shown.image, shown.labels, "fog", i * 10**8, shown.camera_info) for i in range(12)]
    run = StandInThread(interface, frames, rate=10.0)
    whole = lambda: all(len(received[topic]) >= 3 for topic in (*topics, "/clock"))  # noqa: E731
    peer.wait_for(lambda: whole() or run.ended(), "three frames")
    received["publishers"] = [p for topic in topics for p in peer.node.get_publishers_info_by_topic(topic)]
    peer.wait_for(run.ended, "the end")
    assert run.error is None
    assert whole()
    return received


@each_interface
def test_everything_is_as_the_interface_publishes_it(interface: CarlaInterface, messages: dict[str, Any]) -> None:
    vehicle = "hero" if interface.version == "0.9.16" else "ego_vehicle"
    root = f"/carla/{vehicle}"
    rgb, semantic = (messages[f"{root}/{camera}/image"] for camera in ("rgb_front", "semantic_segmentation_front"))
    assert {m.encoding for m in rgb + semantic} == {"bgra8"}
    assert {(m.height, m.width, m.step, m.is_bigendian) for m in rgb + semantic} == {(40, 20, 80, 0)}
    prefix = f"{vehicle}/" if interface.version == "0.9.13" else ""
    assert {m.header.frame_id for m in rgb} == {f"{prefix}rgb_front"}
    assert {m.header.frame_id for m in semantic} == {f"{prefix}semantic_segmentation_front"}
    assert {header_stamp_ns(m.header) for m in rgb} & {header_stamp_ns(m.header) for m in semantic}
    assert messages["/condition"][0].data == "fog"
    assert len(messages["publishers"]) == 4
    for publisher in messages["publishers"]:
        assert publisher.qos_profile.reliability == ReliabilityPolicy.RELIABLE
        assert publisher.qos_profile.durability == DurabilityPolicy.VOLATILE


@each_interface
def test_semantic_images_are_painted_as_carla_does(interface: CarlaInterface, messages: dict[str, Any]) -> None:
    pixels = np.asarray(messages[interface.topic(SEMANTIC)][0].data, np.uint8).reshape(40, 20, 4)
    expected = COLORS if interface.version == "0.9.13" else [(tag, 0, 0) for tag in range(1, 20)]
    assert [tuple(pixel) for pixel in pixels[0, :, 2::-1].tolist()] == [*expected, (0, 0, 0)]
    assert tuple(pixels[20, 0, 2::-1].tolist()) == ROAD_LINE[interface.version]
    assert (pixels[..., 3] == 255).all()


@each_interface
def test_images_and_calibration(interface: CarlaInterface, messages: dict[str, Any]) -> None:
    pixels = np.asarray(messages[interface.topic(RGB)][0].data, np.uint8).reshape(40, 20, 4)
    np.testing.assert_array_equal(pixels[..., 2::-1], every_class().image)
    info = messages[interface.topic(RGB, kind="camera_info")][0]
    assert (info.width, info.height, info.distortion_model, list(info.d)) == (20, 40, "plumb_bob", [0.0] * 5)
    # 20 pixels across 90 degrees: right with the bridge, the tangent of 90 radians with the native interface.
    f = pytest.approx(10.0 if interface.version == "0.9.13" else 20 / (2 * -1.9952004 * np.pi / 360), rel=1e-6)
    assert (info.k[0], info.p[5], info.k[2], info.k[5]) == (f, f, 10.0, 20.0)
    roi = (0, 0, False) if interface.version == "0.9.13" else (40, 20, True)
    assert (info.roi.height, info.roi.width, info.roi.do_rectify) == roi


def test_a_version_without_an_interface_is_refused() -> None:
    with pytest.raises(QueryDiffError, match=r"carla_version must be one of 0.9.13 \(carla-ros-bridge 0.9.13\), .*'1'"):
        carla_interface("1")


Start = Callable[..., subprocess.Popen[str]]


@pytest.fixture
def start() -> Iterator[Start]:
    """Return a starter of our executables as processes; it takes their name and arguments."""
    started: list[subprocess.Popen[str]] = []

    def run(name: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", f"from querydiff_ros.executables import {name}; {name}()", *arguments]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        started.append(process)
        return process

    yield run
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@each_interface
def test_all_executables_together(interface: CarlaInterface, start: Start, pixel_engine: Path, tmp_path: Path) -> None:
    output = tmp_path / "result.json"
    told = ("-p", f"carla_version:={interface.version}", "-p", f"output:={output}", "-p", f"engine:={pixel_engine}")
    evaluation = start("carla_evaluation", "--ros-args", *told)
    remap = ("-r", f"front/image:={interface.topic(RGB)}")
    start("segment_node", "--ros-args", "-p", "bring_up:=true", "-p", f"engine:={pixel_engine}", *remap)
    drive = (
        "--frames",
        "4",
        "--image-size",
        "48x80",
        "--conditions",
        "clear",
        "fog",
        "--rate",
        "0",
        "--lockstep",
        "--coded",
    )
    stand_in = start("carla_stand_in", "--carla-version", interface.version, *drive)
    out, err = stand_in.communicate(timeout=PATIENCE)
    assert (stand_in.returncode, err) == (0, "")
    assert out == f"Standing in for {interface.name}.\n4 frames published.\n"
    evaluation.send_signal(signal.SIGINT)
    _, err = evaluation.communicate(timeout=PATIENCE)
    assert evaluation.returncode == 0
    assert [line.partition("]: ")[2].partition(":")[0] for line in err.splitlines()] == ["Scoring began"]
    result = Result.load(output)
    assert result.miou == 1.0
    assert {domain.name for domain in result.domains} <= {"carla", "clear", "fog"}
    assert 3 <= result.images <= 4


def test_lockstep_without_listeners_is_one_sentence(ros: None, start: Start) -> None:
    process = start("carla_stand_in", "--carla-version", "0.9.16", "--lockstep", "--wait", "0.2")
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1
    assert err.startswith("error: Within 0.2 s no listener of /carla/hero/rgb_front/image and of ")
    assert err.count("\n") == 1


def test_wrong_versions_are_one_sentence(ros: None, start: Start) -> None:
    for module, *arguments in (
        ("carla_stand_in", "--carla-version", "0.9.10"),
        ("carla_evaluation", "--ros-args", "-p", "carla_version:=0.9.10"),
        ("carla_camera_info", "--ros-args", "-p", "carla_version:=0.9.10"),
    ):
        process = start(module, *arguments)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert err.startswith("error: carla_version must be one of 0.9.13 ")
        assert err.count("\n") == 1


def test_names_that_are_no_topics_are_one_sentence(ros: None, start: Start) -> None:
    for module, *arguments in (
        ("carla_stand_in", "--carla-version", "0.9.16", "--vehicle", "my car"),
        ("carla_evaluation", "--ros-args", "-p", "carla_version:=0.9.16", "-p", "vehicle:=my car"),
    ):
        process = start(module, *arguments)
        _, err = process.communicate(timeout=PATIENCE)
        assert process.returncode == 1
        assert err.startswith("error: '/carla/my car/")
        assert err.endswith(" Give other names of camera or vehicle.\n")
        assert err.count("\n") == 1
