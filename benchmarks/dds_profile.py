"""Measure raw frames between a camera driver and the node, as two processes, under middleware settings of each.

usage: python benchmarks/dds_profile.py [--frames N] [--rate HZ] [--size HxW]

The driver publishes reliably, ten deep, as drivers do; the receiver is the node's subscription, one deep.
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import time
from tempfile import NamedTemporaryFile

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image

from querydiff_core.cli.argument_types import image_size
from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, environment_with_dds_profile

SETTLE = 1.0
"""Seconds without a frame after which the subscriber takes the stream for ended."""
UDP_PROFILE = """<profiles xmlns="http://www.eprosima.com/XMLSchemas/fastRTPS_Profiles">
  <transport_descriptors><transport_descriptor>
    <transport_id>udp</transport_id><type>UDPv4</type>
    <sendBufferSize>16777216</sendBufferSize><receiveBufferSize>16777216</receiveBufferSize>
  </transport_descriptor></transport_descriptors>
  <participant profile_name="udp" is_default_profile="true"><rtps>
    <userTransports><transport_id>udp</transport_id></userTransports><useBuiltinTransports>false</useBuiltinTransports>
  </rtps></participant>
</profiles>"""
"""A receiver without shared memory: every sender reaches it by UDP, into a buffer as large as the kernel allows."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=150)
    parser.add_argument("--rate", type=float, default=15.0, help="frames a second (default: %(default)s)")
    parser.add_argument("--size", type=image_size, default=(720, 1280), help="of the frames (default: 720x1280)")
    parser.add_argument("--receive", choices=[policy.name for policy in ReliabilityPolicy], help=argparse.SUPPRESS)
    parser.add_argument("--send", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.receive:
        receive(arguments.receive)
    elif arguments.send:
        send(arguments.size, arguments.frames, arguments.rate)
    else:
        compare(arguments.size, arguments.frames, arguments.rate)


def compare(size: tuple[int, int], frames: int, rate: float) -> None:
    columns = ("driver", "node", "node's reliability", "frames arrived", "a second", "latency p50, p99 (ms)")
    table = Table(*columns, title=f"{size[1]} x {size[0]} rgb8 at {rate:g} Hz")
    default = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    with NamedTemporaryFile("w", suffix=".xml") as file:
        file.write(UDP_PROFILE)
        file.flush()
        settings = {
            "default": default,
            "profile": environment_with_dds_profile(default),
            "UDP alone": {**default, **dict.fromkeys(PROFILE_VARIABLES, file.name)},
        }
        pairs = [("default", "default"), ("default", "profile"), ("default", "UDP alone"), ("profile", "profile")]
        for driver, node in pairs:
            for reliability in ("BEST_EFFORT", "RELIABLE"):
                latencies = measure(settings[driver], settings[node], reliability, size, frames, rate)
                p50, p99 = np.percentile(latencies, (50, 99)) * 1000 if latencies else (float("nan"),) * 2
                arrived = f"{len(latencies)} of {frames}", f"{len(latencies) / frames * rate:.1f}"
                table.add_row(driver, node, reliability, *arrived, f"{p50:.1f}, {p99:.1f}")
    Console(width=110).print(table)


def measure(
    driver: dict[str, str],
    node: dict[str, str],
    reliability: str,
    size: tuple[int, int],
    frames: int,
    rate: float,
) -> list[float]:
    """Return the latency in seconds of every frame that arrived."""
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    command = [sys.executable, __file__]
    receive_command = [*command, "--receive", reliability]
    with subprocess.Popen(receive_command, env={**node, **domain}, stdout=subprocess.PIPE, text=True) as receiver:
        # ROS reads its settings when it starts, so the sender is a process of its own as well.
        sent = ["--send", "--frames", str(frames), "--rate", str(rate), "--size", f"{size[0]}x{size[1]}"]
        subprocess.run([*command, *sent], env={**driver, **domain}, check=True)
        output, _ = receiver.communicate()
    return [float(latency) for latency in json.loads(output)]


def send(size: tuple[int, int], frames: int, rate: float) -> None:
    rclpy.init(args=[])
    node = Node("sender")
    publisher = node.create_publisher(Image, "image", QoSProfile(depth=10, reliability=ReliabilityPolicy.RELIABLE))
    message = Image(height=size[0], width=size[1], encoding="rgb8", step=3 * size[1])
    message.data = array.array("B", bytes(3 * size[0] * size[1]))
    while not publisher.get_subscription_count():
        rclpy.spin_once(node, timeout_sec=0.1)
    time.sleep(SETTLE)  # both sides must have met, or the first frames have nobody to arrive at
    start = time.monotonic()
    for number in range(frames):
        time.sleep(max(0.0, start + number / rate - time.monotonic()))
        message.header.stamp = node.get_clock().now().to_msg()
        publisher.publish(message)
    while publisher.get_subscription_count():  # whoever leaves first takes what is under way along
        rclpy.spin_once(node, timeout_sec=0.1)
    rclpy.try_shutdown()


def receive(reliability: str) -> None:
    rclpy.init(args=[])
    node = Node("receiver")
    latencies: list[float] = []

    def arrived(message: Image) -> None:
        sent = message.header.stamp.sec * 10**9 + message.header.stamp.nanosec
        latencies.append((node.get_clock().now().nanoseconds - sent) * 1e-9)

    quality = QoSProfile(depth=1, reliability=ReliabilityPolicy[reliability])
    node.create_subscription(Image, "image", arrived, quality)
    while not node.count_publishers("image"):
        rclpy.spin_once(node, timeout_sec=0.1)
    last = time.monotonic()
    while time.monotonic() - last < SETTLE + 3 * (not latencies):
        seen = len(latencies)
        rclpy.spin_once(node, timeout_sec=0.1)
        if len(latencies) > seen:
            last = time.monotonic()
    print(json.dumps(latencies))
    rclpy.try_shutdown()


if __name__ == "__main__":
    main()
