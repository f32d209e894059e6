"""What a node costs beside its network: the real `segment_node` against a plain node written the usual way.

usage: python benchmarks/node_overhead.py [--seconds 20] [--rate 30] [--scenario label overlay cameras]

A 1080p camera sends raw rgb8 from another process over DDS, with the profile shipped, and a viewer in a third process
subscribes. The engine of `label` and `overlay` costs nothing: it answers constant labels. Latency is from the arrival
of a frame in the node (the start of its callback) to the return of the last publish; CPU is what the thread that
labels and publishes computes for a frame, which other programs on the machine hardly change. `cameras` runs a model for
four cameras: batched in one node, and in four nodes.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rich.console import Console
from rich.table import Table

from querydiff_core.cli.argument_types import image_size
from querydiff_ros.common.dds_profile import environment_with_dds_profile

SETTLE = 1.5
"""Seconds for all ends to find each other, and at the end for the last frames to come through."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second of each camera")
    parser.add_argument("--scenario", nargs="+", default=list(SCENARIOS), choices=list(SCENARIOS))
    parser.add_argument("--engine", default="", help="of `cameras` (default: the shipped one)")
    parser.add_argument("--image-size", type=image_size, default=(480, 640), help="HxW of `cameras` (default: 480x640)")
    parser.add_argument("--role", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        role, *values = arguments.role
        ROLES[role](*values)
        return
    with TemporaryDirectory() as folder:
        engine = write_constant_engine(Path(folder) / "constant.onnx")
        for scenario in arguments.scenario:
            SCENARIOS[scenario](str(engine), arguments)


def compare_latency(engine: str, arguments: argparse.Namespace, *, overlay: bool = False) -> None:
    title = "label, confidence and overlay" if overlay else "label and confidence, nobody watches the overlay"
    table = Table(
        "node",
        "p50 (ms)",
        "p99 (ms)",
        "CPU (ms)",
        "handled",
        "labels seen",
        "memory (MB)",
        title=title,
        title_justify="left",
    )
    medians = {}
    for node in ("ours", "plain"):
        command = [node, engine, "front"]
        results, seen = run([command], ["front"], (1080, 1920), overlay, arguments)
        times = 1000 * np.array(results[0]["whole" if overlay else "labels"])
        medians[node] = float(np.median(times))
        cpu = 1000 * float(np.median(results[0]["cpu"]))
        row = f"{medians[node]:.1f}", f"{np.percentile(times, 99):.1f}", f"{cpu:.1f}", str(len(times)), str(seen)
        table.add_row(node, *row, f"{results[0]['memory'] / 1e6:.0f}")
    Console(width=120).print(table, f"ours / plain: {medians['ours'] / medians['plain']:.2f}")


def compare_cameras(_: str, arguments: argparse.Namespace) -> None:
    names = ["a", "b", "c", "d"]
    table = Table("nodes", "labels/s of all cameras", "memory of all (MB)", title="four cameras", title_justify="left")
    for title, commands in (
        ("one, batched", [["ours", arguments.engine, ",".join(names)]]),
        ("four", [["ours", arguments.engine, name] for name in names]),
    ):
        results, _seen = run(commands, names, arguments.image_size, False, arguments)
        labels = sum(len(result["labels"]) for result in results)
        memory = sum(result["memory"] for result in results)
        table.add_row(title, f"{labels / arguments.seconds:.1f}", f"{memory / 1e6:.0f}")
    Console(width=120).print(table)


SCENARIOS = {
    "label": compare_latency,
    "overlay": lambda engine, arguments: compare_latency(engine, arguments, overlay=True),
    "cameras": compare_cameras,
}


def run(
    nodes: list[list[str]], cameras: list[str], size: tuple[int, int], overlay: bool, arguments: argparse.Namespace
) -> tuple[list[dict[str, Any]], int]:
    """Return what each node measured, and how many labels the viewer saw."""
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    environment = {**environment_with_dds_profile(), **domain}
    with ExitStack() as stack:
        processes = [stack.enter_context(start(node, environment)) for node in nodes]
        viewer = stack.enter_context(start(["viewer", ",".join(cameras), str(int(overlay))], environment))
        sizes = [str(side) for side in size]
        camera = start(["camera", ",".join(cameras), *sizes, str(arguments.rate), str(arguments.seconds)], environment)
        stack.enter_context(camera)
        camera.wait()
        results = []
        for process in (*processes, viewer):
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=60)
            results.append(json.loads(output.strip().splitlines()[-1]))
        return results[:-1], results[-1]["seen"]


def start(role: list[str], environment: dict[str, str]) -> subprocess.Popen[str]:
    command = [sys.executable, __file__, "--role", *role]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)


def write_constant_engine(path: Path) -> Path:
    """Write an engine that labels every pixel 1 with confidence 200, at the cost of filling two arrays."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata

    nodes = [helper.make_node("Shape", ["images"], ["size"], start=0, end=3)]
    for output, value in (("labels", 1), ("confidence", 200)):
        constant = numpy_helper.from_array(np.array([value], np.uint8))
        nodes.append(helper.make_node("ConstantOfShape", ["size"], [output], value=constant))
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", "H", "W", 3])
    outputs = [helper.make_tensor_value_info(n, TensorProto.UINT8, ["B", "H", "W"]) for n in ("labels", "confidence")]
    graph = helper.make_graph(nodes, "constant", [images], outputs)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    metadata = ModelMetadata("constant", (64, 128), (0.0,) * 3, (1.0,) * 3)
    helper.set_model_props(model, {METADATA_KEY: metadata.to_json()})
    onnx.save(model, path)
    return path


def ours(engine: str, cameras: str) -> None:
    """Run the real node with a stopwatch around its work."""
    from querydiff_ros.executables import segment_node
    from querydiff_ros.node.camera_statistics import CameraStatistics
    from querydiff_ros.node.frame_labeller import FrameLabeller

    whole: list[float] = []
    labels: list[float] = []
    cpu: list[float] = []
    label, count = FrameLabeller.label, CameraStatistics.label

    def timed_label(self: FrameLabeller, frames: Any) -> None:
        start = time.thread_time()
        label(self, frames)
        cpu.append((time.thread_time() - start) / len(frames))
        whole.extend(time.monotonic() - frame.arrival for frame in frames.values())

    def timed_count(self: CameraStatistics, from_stamp: float, from_arrival: float, confidence: float) -> None:
        count(self, from_stamp, from_arrival, confidence)
        labels.append(from_arrival)

    FrameLabeller.label = timed_label  # type: ignore[method-assign]
    CameraStatistics.label = timed_count  # type: ignore[method-assign]
    parameters = ["bring_up:=true", f"engine:='{engine}'", f"cameras:=[{cameras}]"]
    try:
        segment_node(["segment_node", "--ros-args", *(word for p in parameters for word in ("-p", p))])
    finally:
        print(json.dumps({"labels": labels, "whole": whole, "cpu": cpu, "memory": peak_memory()}), flush=True)


def plain(engine: str, camera: str) -> None:
    """Run a node as they are usually written: queue of 10, copies on the way in and out, overlay always drawn."""
    import cv2
    from rclpy.node import Node
    from sensor_msgs.msg import Image

    from querydiff_core.inference.segmenter import Segmenter

    segmenter, times, cpu = Segmenter.load(engine), [], []

    class PlainNode(Node):
        def __init__(self) -> None:
            super().__init__("plain")
            self.create_subscription(Image, f"{camera}/image", self.receive, 10)
            names = ("label", "confidence", "overlay")
            self.outputs = {name: self.create_publisher(Image, f"{camera}/{name}", 10) for name in names}

        def receive(self, message: Image) -> None:
            arrival, start = time.monotonic(), time.thread_time()
            image = np.array(message.data, np.uint8).reshape(message.height, message.width, 3)
            result = segmenter(image)
            colors = segmenter.label_space.colors[result.labels]
            overlay = cv2.addWeighted(image, 0.5, colors, 0.5, 0.0)
            self.send("label", result.labels, "mono8", message)
            self.send("confidence", result.confidence, "mono8", message)
            self.send("overlay", overlay, "rgb8", message)
            cpu.append(time.thread_time() - start)
            times.append(time.monotonic() - arrival)

        def send(self, output: str, pixels: np.ndarray, encoding: str, source: Image) -> None:
            message = Image(header=source.header, height=source.height, width=source.width, encoding=encoding)
            message.step = pixels.nbytes // source.height
            message.data = pixels.tobytes()
            self.outputs[output].publish(message)

    spin(PlainNode)
    print(json.dumps({"labels": times, "whole": times, "cpu": cpu, "memory": peak_memory()}), flush=True)


def viewer(cameras: str, overlay: str) -> None:
    """Subscribe as a planner would, and to the overlay as a person would."""
    from rclpy.node import Node
    from sensor_msgs.msg import Image

    seen = 0

    class Viewer(Node):
        def __init__(self) -> None:
            super().__init__("viewer")
            for camera in cameras.split(","):
                self.create_subscription(Image, f"{camera}/label", self.count, 10)
                self.create_subscription(Image, f"{camera}/confidence", lambda _: None, 10)
                if int(overlay):
                    self.create_subscription(Image, f"{camera}/overlay", lambda _: None, 10)

        def count(self, _: Image) -> None:
            nonlocal seen
            seen += 1

    spin(Viewer)
    print(json.dumps({"seen": seen}), flush=True)


def camera(names: str, height: str, width: str, rate: str, seconds: str) -> None:
    """Send frames of every camera at `rate`, once somebody subscribes to each."""
    import array

    import rclpy
    from sensor_msgs.msg import Image

    rclpy.init(args=[])
    node = rclpy.create_node("camera")
    publishers = [node.create_publisher(Image, f"{name}/image", 1) for name in names.split(",")]
    message = Image(width=int(width), height=int(height), encoding="rgb8", step=3 * int(width))
    noise = np.random.default_rng(0).integers(0, 256, 3 * int(width) * int(height), np.uint8)
    message.data = array.array("B", noise.tobytes())
    while not all(publisher.get_subscription_count() for publisher in publishers):
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(SETTLE)
    start_time = time.monotonic()
    for number in range(round(float(rate) * float(seconds))):
        time.sleep(max(0.0, start_time + number / float(rate) - time.monotonic()))
        message.header.stamp = node.get_clock().now().to_msg()
        for publisher in publishers:
            publisher.publish(message)
    time.sleep(SETTLE)
    rclpy.try_shutdown()


def spin(node_type: type) -> None:
    import rclpy
    from rclpy.executors import ExternalShutdownException

    rclpy.init(args=[])
    try:
        rclpy.spin(node_type())
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()


def peak_memory() -> int:
    """Return the most bytes of main memory that this process has held."""
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


ROLES = {"ours": ours, "plain": plain, "viewer": viewer, "camera": camera}

if __name__ == "__main__":
    main()
