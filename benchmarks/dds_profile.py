"""Measure raw 1080p frames at 30 Hz between two processes, with Fast DDS's defaults and with the profile shipped.

usage: python benchmarks/dds_profile.py [--frames N] [--rate HZ]
"""

from __future__ import annotations

import argparse
import array
import json
import os
import subprocess
import sys
import time

import numpy as np
import rclpy
from rclpy.node import Node
from rclpy.qos import QoSProfile, ReliabilityPolicy
from rich.console import Console
from rich.table import Table
from sensor_msgs.msg import Image

from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, environment_with_dds_profile

WIDTH, HEIGHT = 1920, 1080
SETTLE = 1.0
"""Seconds without a frame after which the subscriber takes the stream for ended."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--frames", type=int, default=300)
    parser.add_argument("--rate", type=float, default=30.0, help="frames a second (default: %(default)s)")
    parser.add_argument("--receive", choices=[policy.name for policy in ReliabilityPolicy], help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.receive:
        receive(arguments.receive)
    else:
        compare(arguments.frames, arguments.rate)


def compare(frames: int, rate: float) -> None:
    table = Table("middleware settings", "reliability", "frames arrived", "latency p50 (ms)", "latency p99 (ms)")
    default = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    for settings, environment in (("default", default), ("profile", environment_with_dds_profile(default))):
        for reliability in ("BEST_EFFORT", "RELIABLE"):
            latencies = measure(environment, reliability, frames, rate)
            p50, p99 = np.percentile(latencies, (50, 99)) * 1000 if latencies else (float("nan"),) * 2
            table.add_row(settings, reliability, f"{len(latencies)} of {frames}", f"{p50:.1f}", f"{p99:.1f}")
    Console(width=100).print(table)


def measure(environment: dict[str, str], reliability: str, frames: int, rate: float) -> list[float]:
    """Return the latency in seconds of every frame that arrived."""
    domain = {"ROS_DOMAIN_ID": str(1 + os.getpid() % 100), "ROS_AUTOMATIC_DISCOVERY_RANGE": "LOCALHOST"}
    environment = {**environment, **domain}
    command = [sys.executable, __file__, "--receive", reliability]
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True) as receiver:
        # ROS reads its settings when it starts, so the sender is a process of its own as well.
        sender = [sys.executable, "-c", f"import dds_profile; dds_profile.send('{reliability}', {frames}, {rate})"]
        subprocess.run(sender, env=environment, cwd=os.path.dirname(os.path.abspath(__file__)), check=True)
        output, _ = receiver.communicate()
    return [float(latency) for latency in json.loads(output)]


def send(reliability: str, frames: int, rate: float) -> None:
    rclpy.init(args=[])
    node = Node("sender")
    publisher = node.create_publisher(Image, "image", quality(reliability))
    message = Image(width=WIDTH, height=HEIGHT, encoding="rgb8", step=3 * WIDTH)
    message.data = array.array("B", bytes(3 * WIDTH * HEIGHT))
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

    node.create_subscription(Image, "image", arrived, quality(reliability))
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


def quality(reliability: str) -> QoSProfile:
    # Two seconds deep, so that a process that pauses does not count as a transport that loses.
    return QoSProfile(depth=60, reliability=ReliabilityPolicy[reliability])


if __name__ == "__main__":
    main()
