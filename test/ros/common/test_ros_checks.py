"""What `querydiff doctor` says of ROS, DDS and the kernel, with each broken on purpose."""

import os

import pytest

from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, dds_profile
from querydiff_ros.common.ros_checks import FRAME, messages, profile, ros, ros_checks, shared_memory, socket_buffers

PROFILE = "<profiles><transport_descriptor>{}</transport_descriptor></profiles>"


def environment(**changes):
    ours = ("ROS_DISTRO", "RMW_IMPLEMENTATION", "FASTDDS_BUILTIN_TRANSPORTS", *PROFILE_VARIABLES)
    return {name: value for name, value in {**os.environ, **changes}.items() if name in changes or name not in ours}


def test_a_sound_installation_is_ok_in_every_line():
    found = list(ros(environment()))
    assert [(check.name, check.state) for check in found] == [("ROS", "ok"), ("middleware", "ok")]
    assert found[1].found == "rmw_fastrtps_cpp"
    assert messages().state == "ok"
    assert [check.name for check in ros_checks()][-3:] == ["DDS profile", "socket buffers", "shared memory"]


def test_a_middleware_that_is_not_installed_is_named():
    (check,) = ros(environment(RMW_IMPLEMENTATION="rmw_nothing_cpp", ROS_DISTRO="jazzy"))
    assert (check.name, check.state) == ("middleware", "warning")
    assert "RMW_IMPLEMENTATION=rmw_nothing_cpp does not load: " in check.found
    assert check.advice == "install ros-jazzy-rmw-nothing-cpp, or unset it"


@pytest.mark.parametrize(
    ("distribution", "found", "advice"),
    [
        ("humble", "humble is sourced, but rclpy does not load: ImportError: built for another Python", "use the Py"),
        ("", "import rclpy fails: ImportError: built for another Python", "source /opt/ros/"),
    ],
)
def test_an_rclpy_that_does_not_load(tmp_path, distribution, found, advice):
    (tmp_path / "rclpy.py").write_text("raise ImportError('built for another Python')\n")
    (check,) = ros(environment(PYTHONPATH=str(tmp_path), ROS_DISTRO=distribution))
    assert (check.name, check.state, check.found) == ("ROS", "warning", found)
    assert check.advice.startswith(advice)


@pytest.mark.parametrize(
    ("named", "state", "found"),
    [
        ({}, "warning", "none set here"),
        ({"FASTDDS_BUILTIN_TRANSPORTS": "LARGE_DATA"}, "warning", "FASTDDS_BUILTIN_TRANSPORTS=LARGE_DATA"),
        ({"FASTRTPS_DEFAULT_PROFILES_FILE": str(dds_profile())}, "ok", f"{dds_profile()}, 67 MB of shared memory"),
        (
            {"FASTRTPS_DEFAULT_PROFILES_FILE": "/nowhere.xml"},
            "warning",
            "FASTRTPS_DEFAULT_PROFILES_FILE=/nowhere.xml c",
        ),
        ({"FASTDDS_DEFAULT_PROFILES_FILE": str(dds_profile())}, "warning", "only FASTDDS_DEFAULT_PROFILES_FILE is set"),
        (
            {"FASTDDS_DEFAULT_PROFILES_FILE": str(dds_profile()), "ROS_DISTRO": "kilted"},
            "ok",
            f"{dds_profile()}, 67 MB of shared memory",
        ),
        ({"RMW_IMPLEMENTATION": "rmw_zenoh_cpp"}, "absent", "not read by rmw_zenoh_cpp"),
    ],
)
def test_profiles(named, state, found):
    check = profile(environment(**named))
    assert check.state == state
    assert check.found.startswith(found)
    assert (str(dds_profile()) in check.advice) == (state == "warning")


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (
            PROFILE.format("<segment_size>1048576</segment_size>"),
            "gives 1.0 MB of shared memory, and a raw 1080p frame",
        ),
        (PROFILE.format(""), "gives 0.5 MB of shared memory"),
        (PROFILE.format("<segment_size>much</segment_size>"), "is no profile: invalid literal"),
        ("<profiles>", "is no profile: no element found"),
    ],
)
def test_profiles_that_lose_frames(tmp_path, text, found):
    (tmp_path / "own.xml").write_text(text)
    check = profile(environment(FASTRTPS_DEFAULT_PROFILES_FILE=str(tmp_path / "own.xml")))
    assert check.state == "warning"
    assert found in check.found


def test_socket_buffers_against_a_raw_frame(tmp_path):
    assert socket_buffers(tmp_path).state == "absent"
    for limit, state in ((212_992, "warning"), (FRAME - 1, "warning"), (FRAME, "ok")):
        for name in ("rmem_max", "wmem_max"):
            (tmp_path / name).write_text(f"{limit}\n")
        assert socket_buffers(tmp_path).state == state
    (tmp_path / "wmem_max").write_text("212992\n")
    check = socket_buffers(tmp_path)
    assert check.found == "rmem_max 6.2 MB, wmem_max 0.2 MB: less than a raw 1080p frame of 6.2 MB"
    assert "net.core.rmem_max=16777216 net.core.wmem_max=16777216" in check.advice


def test_shared_memory_that_is_not_there(tmp_path):
    assert shared_memory(tmp_path / "none").state == "absent"
    assert " MB free in " in shared_memory(tmp_path).found
