"""The Fast DDS profile: who gets it, and that whole raw frames pass with it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from image_messages import picture, raw
from node_process import NodeProcess
from peer import BEST_EFFORT, PATIENCE, Peer
from sensor_msgs.msg import Image

from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, dds_profile, environment_with_dds_profile
from querydiff_ros.common.install_paths import executable_path, share_directory


def test_the_profile_is_added_to_a_bare_environment() -> None:
    environment = environment_with_dds_profile({"HOME": "/home/user"})
    assert environment == {"HOME": "/home/user", **dict.fromkeys(PROFILE_VARIABLES, str(dds_profile()))}
    assert dds_profile().is_file()


@pytest.mark.parametrize("chosen", [*PROFILE_VARIABLES, "FASTDDS_BUILTIN_TRANSPORTS"])
def test_the_choice_of_the_user_stands(chosen: str) -> None:
    assert environment_with_dds_profile({chosen: "mine"}) == {chosen: "mine"}


def test_the_installed_files_are_found() -> None:
    assert (share_directory() / "config" / "ros" / "segment.yaml").is_file()
    assert os.access(executable_path("segment_node"), os.X_OK)


RECEIVER = """
import sys
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

rclpy.init(args=[])
node = rclpy.create_node("receiver")
answers = node.create_publisher(Image, "answers", QoSProfile(depth=10))

def answer(message):
    answers.publish(Image(header=message.header, height=message.height, width=message.width))

quality = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
node.create_subscription(Image, "frames", answer, quality)
try:
    rclpy.spin(node)
except rclpy.executors.ExternalShutdownException:
    pass
"""


def test_raw_1080p_frames_pass_between_processes_at_best_effort(peer: Peer) -> None:
    """Frame by frame, so that a busy machine loses none; through Fast DDS's own 512 KB segment most would be lost."""
    receiver = subprocess.Popen([sys.executable, "-c", RECEIVER])
    try:
        frames, answers = peer.publisher(Image, "frames", BEST_EFFORT), peer.subscribe(Image, "answers")
        peer.wait_for_match(frames)
        frame = raw(picture(1080, 1920), stamp=0)
        peer.wait_for(lambda: (frames.publish(frame), answers)[1], "both directions")
        for stamp in range(1, 31):
            frame.header.stamp.sec = stamp
            frames.publish(frame)
            peer.wait_for(lambda s=stamp: answers[-1].header.stamp.sec == s, f"frame {stamp}")
        assert (answers[-1].height, answers[-1].width) == (1080, 1920)
    finally:
        receiver.terminate()
        receiver.wait(PATIENCE)


def test_our_own_segment_is_the_large_one(peer: Peer) -> None:
    mapped = [
        line.split()[0].split("-") for line in Path("/proc/self/maps").read_text().splitlines() if "fastrtps" in line
    ]
    assert max(int(end, 16) - int(start, 16) for start, end in mapped) >= 64 * 2**20


CAMERA = """
import array, time
import rclpy
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image

rclpy.init(args=[])
node = rclpy.create_node("camera")
camera = node.create_publisher(Image, "front/image", QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT))
frame = Image(height=1080, width=1920, encoding="rgb8", step=5760, data=array.array("B", bytes(1080 * 5760)))
node.create_timer(1 / 30, lambda: camera.publish(frame))
try:
    rclpy.spin(node)
except rclpy.executors.ExternalShutdownException:
    pass
"""


def test_the_node_notices_that_frames_are_lost_and_says_what_helps(
    start_process: Callable[..., NodeProcess], pixel_engine: Path
) -> None:
    without = {name: value for name, value in os.environ.items() if name not in PROFILE_VARIABLES}
    parameters = ["-p", f"engine:={pixel_engine}", "-p", "bring_up:=true"]
    node = start_process("segment_node", "--ros-args", *parameters, environment=without)
    camera = subprocess.Popen([sys.executable, "-c", CAMERA], env=without)
    try:
        line = node.wait_for_line("frames of /front/image were lost")
        assert f"config/dds/{dds_profile().name}" in line
        assert PROFILE_VARIABLES[0] in line
    finally:
        camera.terminate()
        camera.wait(PATIENCE)
