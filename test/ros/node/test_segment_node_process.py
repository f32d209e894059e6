"""The executable as its own process: start, interruption at any moment, and a camera faster than the engine."""

from __future__ import annotations

import array
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from engines import expected_labels, write_pixel_engine
from image_messages import picture, pixels, raw
from node_process import NodeProcess
from peer import BEST_EFFORT, PATIENCE, Peer
from rclpy.qos import QoSProfile
from sensor_msgs.msg import Image
from short_drive import record

Start = Callable[..., NodeProcess]

SIGNALS = [signal.SIGINT, signal.SIGTERM]


def node_arguments(engine: Path, *more: str) -> list[str]:
    chosen = ["-p", f"engine:={engine}", "-p", "bring_up:=true", "-p", "threads:=1", *more]
    return ["segment_node", "--ros-args", *chosen]


def assert_ended_quietly(process: NodeProcess, sent: signal.Signals) -> None:
    code = process.wait()
    assert code in (0, -sent), process.output
    assert "Traceback" not in process.output
    assert "ERROR" not in process.output


def wait_until_loaded(process: NodeProcess, library: str) -> None:
    """Return as soon as the process has mapped `library`, a moment of its start-up."""
    deadline = time.monotonic() + PATIENCE
    while library not in Path(f"/proc/{process.pid}/maps").read_text():
        assert time.monotonic() < deadline, f"{library} is never loaded"


@pytest.mark.parametrize("sent", SIGNALS)
@pytest.mark.parametrize("library", ["numpy", "_rclpy_pybind11", "libfastrtps", "onnxruntime"])
def test_interrupted_while_starting(
    start_process: Start, peer: Peer, pixel_engine: Path, library: str, sent: signal.Signals
) -> None:
    process = start_process(*node_arguments(pixel_engine))
    wait_until_loaded(process, library)
    process.signal(sent)
    assert_ended_quietly(process, sent)


@pytest.mark.parametrize("sent", SIGNALS)
def test_interrupted_while_configuring(start_process: Start, peer: Peer, tmp_path: Path, sent: signal.Signals) -> None:
    process = start_process(*node_arguments(write_pixel_engine(tmp_path / "slowest.onnx", work=1500)))
    peer.wait_for(lambda: "segment_node" in peer.node.get_node_names(), "the node")
    process.signal(sent)
    assert_ended_quietly(process, sent)


@pytest.mark.parametrize("sent", SIGNALS)
def test_interrupted_while_labelling(start_process: Start, peer: Peer, slow_engine: Path, sent: signal.Signals) -> None:
    process = start_process(*node_arguments(slow_engine))
    labels, camera = peer.subscribe(Image, "/front/label"), peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    peer.wait_for(lambda: (camera.publish(raw(picture())), labels)[1], "a label")
    camera.publish(raw(picture()))  # an inference is under way or about to be
    process.signal(sent)
    assert_ended_quietly(process, sent)


def test_interrupted_twice(start_process: Start, peer: Peer, slow_engine: Path) -> None:
    process = start_process(*node_arguments(slow_engine))
    process.wait_for_line("loaded and warmed up")
    process.signal(signal.SIGINT)
    process.signal(signal.SIGINT)
    assert_ended_quietly(process, signal.SIGINT)


def test_starts_labels_and_never_loads_torch(start_process: Start, peer: Peer, pixel_engine: Path) -> None:
    process = start_process(*node_arguments(pixel_engine))
    labels, camera = peer.subscribe(Image, "/front/label"), peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    label = peer.wait_for(lambda: (camera.publish(raw(picture())), labels)[1], "a label")[0]
    assert (pixels(label) == expected_labels(picture())).all()
    assert "libtorch" not in Path(f"/proc/{process.pid}/maps").read_text()


def test_remapped_topics_and_a_namespace(start_process: Start, peer: Peer, pixel_engine: Path) -> None:
    remapped = ("-r", "front/image:=/driver/image_raw", "-r", "__ns:=/vehicle")
    start_process(*node_arguments(pixel_engine, *remapped))
    labels, camera = peer.subscribe(Image, "/vehicle/front/label"), peer.publisher(Image, "/driver/image_raw")
    peer.wait_for(lambda: (camera.publish(raw(picture())), labels)[1], "a label")


WRONG_STARTS = {
    "missing engine": (["-p", "engine:=/nowhere/model.onnx"], "No model file /nowhere/model.onnx"),
    "out of range": (
        ["-p", "overlay_opacity:=7.0"],
        "Parameter overlay_opacity must lie between 0.0 and 1.0, found 7.0.",
    ),
    "wrong type": (["-p", "cameras:=front"], "Parameter cameras must be a list of strings, found 'front'."),
}


@pytest.mark.parametrize("name", WRONG_STARTS)
def test_a_wrong_start_is_one_sentence_and_a_living_node(
    start_process: Start, peer: Peer, pixel_engine: Path, name: str
) -> None:
    arguments, sentence = WRONG_STARTS[name]
    process = start_process(*node_arguments(pixel_engine, *arguments))
    assert "Cannot configure: " in process.wait_for_line(sentence)
    peer.wait_for(lambda: "segment_node" in peer.node.get_node_names(), "the node")
    process.signal(signal.SIGINT)
    assert process.wait() == 0
    assert sum("[segment_node]" in line for line in process.lines) == 1


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--ros-args", "--params-file", "/nowhere.yaml"], "ROS 2 does not start: "),
        (["--ros-args", "-p", "cameras:=[]"], "A parameter is an empty list, in which ROS sees no value"),
        (["-p", "bring_up:=true"], "Unknown argument -p: parameters follow --ros-args."),
        (["--ros-args", "-p", "bring_up:=true", "--", "x"], "Unknown argument x: parameters follow --ros-args."),
    ],
)
def test_wrong_arguments_end_with_one_sentence(start_process: Start, arguments: list[str], sentence: str) -> None:
    process = start_process("segment_node", *arguments)
    assert process.wait() == 1
    assert "Traceback" not in process.output
    assert process.lines[-1].startswith(f"error: {sentence}")


@pytest.mark.parametrize("command", ["executables.segment_node", "cli.demo.main", "cli.replay.main"])
def test_without_ros_every_command_says_what_to_install(tmp_path: Path, command: str) -> None:
    arguments = [str(record(tmp_path / "bag"))] if "replay" in command else []
    module, function = command.rsplit(".", 1)
    without_ros = (
        "import sys; sys.modules['rclpy'] = None; from importlib import import_module; "
        "from querydiff_core.cli.main import exit_cleanly; "
        f"exit_cleanly(lambda: import_module('querydiff_ros.{module}').{function}({arguments}))"
    )
    result = subprocess.run([sys.executable, "-c", without_ros], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert result.stderr.startswith("error: ROS 2 for Python is missing")
    assert result.stderr.count("\n") == 1


def test_bad_frames_and_a_foreign_type_are_one_warning_each(
    start_process: Start, peer: Peer, pixel_engine: Path
) -> None:
    from std_msgs.msg import String

    process = start_process(*node_arguments(pixel_engine, "-p", "diagnostics_period:=0.1"))
    foreign = peer.publisher(String, "/front/image/compressed")
    camera, labels = peer.publisher(Image, "/front/image"), peer.subscribe(Image, "/front/label")
    peer.wait_for_match(camera)
    bad = raw(picture(), stamp=1)
    bad.encoding = "sepia"
    refusal = "/front/image has the unknown encoding 'sepia'; expected one of"
    peer.wait_for(lambda: (camera.publish(bad), process.find(refusal))[1], "the refusal")
    for _ in range(20):
        camera.publish(bad)
    line = process.wait_for_line("/front/image/compressed is published as std_msgs/msg/String")
    assert "expected sensor_msgs/msg/CompressedImage" in line
    peer.wait_for(lambda: (camera.publish(raw(picture(), stamp=2)), labels)[1], "a label after all that")
    assert sum("sepia" in each for each in process.lines) == 1
    assert sum("String" in each for each in process.lines) == 1
    peer.node.destroy_publisher(foreign)


def test_a_60_hz_camera_against_a_slow_engine_takes_no_memory(
    start_process: Start, peer: Peer, slow_engine: Path
) -> None:
    process = start_process(*node_arguments(slow_engine))
    labels = peer.subscribe(Image, "/front/label", QoSProfile(depth=1))
    camera = peer.publisher(Image, "/front/image", BEST_EFFORT)
    peer.wait_for_match(camera)
    frame, sent = raw(picture(480, 640)), 0
    memory = psutil.Process(process.pid).memory_info

    def send() -> None:
        nonlocal sent
        sent += 1
        frame.header.stamp.sec = sent
        camera.publish(frame)

    peer.node.create_timer(1 / 60, send)
    peer.wait_for(lambda: len(labels) > 10, "the first labels")
    settled, sent_before = memory().rss, sent
    peer.wait_for(lambda: sent >= sent_before + 1000, "1,000 frames more")
    assert memory().rss - settled < 16 * frame.step * frame.height  # of 1,000 frames; a queue would hold hundreds
    stamps = [label.header.stamp.sec for label in labels]
    assert stamps == sorted(set(stamps))
    assert 2 < len(stamps) < sent / 2  # the engine really is slower than the camera


def test_a_16_bit_camera_is_labelled_by_its_upper_bits_which_is_said_once(
    start_process: Start, peer: Peer, pixel_engine: Path
) -> None:
    process = start_process(*node_arguments(pixel_engine))
    labels, camera = peer.subscribe(Image, "/front/label"), peer.publisher(Image, "/front/image")
    peer.wait_for_match(camera)
    deep = raw(picture(red=40), "mono8")
    deep.encoding, deep.step = "mono16", 2 * deep.width
    deep.data = array.array("B", b"\x63\x28" * (deep.height * deep.width))  # 40 * 256 + 99, little endian
    peer.wait_for(lambda: (camera.publish(deep), len(labels) > 2)[1], "labels")
    assert (pixels(labels[0]) == 40 % 19).all()
    assert "/front/image has 16 bits a value" in process.wait_for_line("16 bits")
    assert sum("16 bits" in line for line in process.lines) == 1
