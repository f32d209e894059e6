"""CARLA's calibration put right: what the native interface gets wrong, what is right already, and a wrong fov."""

from __future__ import annotations

import pytest
from peer import Peer
from rclpy.parameter import Parameter
from sensor_msgs.msg import CameraInfo

from querydiff_core.errors import QueryDiffError
from querydiff_ros.carla.camera_info_node import CarlaCameraInfoNode, corrected
from querydiff_ros.carla.interface import carla_interface


def info(focal: float, width: int = 1616) -> CameraInfo:
    message = CameraInfo(width=width, height=1240)
    message.k[0] = message.k[4] = message.p[0] = message.p[5] = focal
    return message


# The figures of carla-simulator/carla pull request 9462: 1616 pixels across 60 degrees.
@pytest.mark.parametrize("published", [289307.17, 1399.4970525])
def test_the_focal_length_is_that_of_the_field_of_view(published: float) -> None:
    message = corrected(info(published), carla_interface("0.9.16"), 60.0)
    assert [message.k[0], message.k[4], message.p[0], message.p[5]] == pytest.approx([1399.4970525] * 4)


def test_a_field_of_view_that_is_not_the_cameras_is_one_sentence() -> None:
    with pytest.raises(QueryDiffError, match=r"focal length 289307.2 is not what .* 90 degrees .* set the parameter"):
        corrected(info(289307.17), carla_interface("0.9.16"), 90.0)


@pytest.mark.parametrize(
    ("version", "fov", "said"),
    [
        ("0.9.16", 0.0, "fov must lie between 0 and 180"),
        ("0.9.16", 180.0, "fov must lie between 0 and 180"),
        ("0.9.13", 90.0, "carla-ros-bridge 0.9.13 publishes the right focal length"),
    ],
)
def test_what_cannot_be_corrected_is_one_sentence(ros: None, version: str, fov: float, said: str) -> None:
    told = [Parameter("carla_version", value=version), Parameter("fov", value=fov)]
    with pytest.raises(QueryDiffError, match=said):
        CarlaCameraInfoNode(parameter_overrides=told)


def test_the_node_republishes(peer: Peer) -> None:
    told = [Parameter("carla_version", value="0.9.15"), Parameter("fov", value=60)]
    node = CarlaCameraInfoNode(parameter_overrides=told)
    peer.executor.add_node(node)
    received = peer.subscribe(CameraInfo, "/front/camera_info")
    camera = peer.publisher(CameraInfo, "/carla/ego_vehicle/rgb_front/camera_info")
    peer.wait_for_match(camera)
    message = info(289307.17)
    message.header.stamp.sec, message.header.frame_id = 7, "rgb_front"
    answer = peer.wait_for(lambda: (camera.publish(message), received)[1], "the answer")[0]
    assert answer.k[0] == pytest.approx(1399.4970525)
    assert answer.header == message.header
    peer.executor.remove_node(node)
    node.destroy_node()
