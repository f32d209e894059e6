"""What ROS needs of a machine for the node and its cameras, piece by piece; `querydiff doctor` prints it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

from querydiff_core.doctor import SECONDS, Check, needed
from querydiff_core.errors import QueryDiffError, one_line
from querydiff_ros.common.dds_profile import PROFILE_VARIABLES, dds_profile

FRAME = 1920 * 1080 * 3
"""Bytes of a raw frame of 1080p."""
SEGMENT = 64 * 2**20
"""Bytes of shared memory that our DDS profile gives each process."""
BUFFER = 16 * 2**20
"""Bytes of the socket buffers that our DDS profile asks for."""
OLD_FAST_DDS = ("humble", "iron", "jazzy")
"""Distributions whose Fast DDS reads the first of `PROFILE_VARIABLES`; later ones read the second."""
_ASK_RCLPY = "import rclpy; print(rclpy.__file__); print(rclpy.get_rmw_implementation_identifier())"


def ros_checks() -> Iterator[Check]:
    """Look at ROS, its middleware, and what large images need of the kernel."""
    yield from ros()
    yield messages()
    yield needed("bags", {name: name for name in ("rosbags", "mcap", "zstandard", "lz4")}, "warning")
    yield profile()
    yield socket_buffers()
    yield shared_memory()


def ros(environment: Mapping[str, str] = os.environ) -> Iterator[Check]:
    """Import rclpy in a process of its own: one with the wrong middleware ends its process."""
    distribution, chosen = environment.get("ROS_DISTRO", ""), environment.get("RMW_IMPLEMENTATION", "")
    command = [sys.executable, "-c", _ASK_RCLPY]
    try:
        answer = subprocess.run(
            command, capture_output=True, text=True, timeout=SECONDS, env=dict(environment), check=False
        )
    except subprocess.TimeoutExpired:
        yield Check("ROS", "warning", f"import rclpy takes more than {SECONDS} s")
        return
    said = [line for line in answer.stdout.splitlines() if line]
    if answer.returncode == 0 and len(said) >= 2:
        path, middleware = said[-2:]
        yield Check("ROS", "ok", f"{distribution or 'no ROS_DISTRO'}, rclpy in {Path(path).parent}")
        other = "large frames need its own settings: our DDS profile is Fast DDS's"
        is_fast_dds = "fastrtps" in middleware
        yield Check("middleware", *(("ok", middleware, "") if is_fast_dds else ("warning", middleware, other)))
        return
    reason = one_line(Exception(answer.stderr), -1)
    if chosen and "RMW" in answer.stderr:
        advice = f"install ros-{distribution or '<distribution>'}-{chosen.replace('_', '-')}, or unset it"
        yield Check("middleware", "warning", f"RMW_IMPLEMENTATION={chosen} does not load: {reason}", advice)
    elif distribution:
        advice = "use the Python that it was built for, in a virtual environment with --system-site-packages"
        yield Check("ROS", "warning", f"{distribution} is sourced, but rclpy does not load: {reason}", advice)
    else:
        advice = "source /opt/ros/<distribution>/setup.bash, or pip install 'querydiff_ros[ros]'"
        yield Check("ROS", "warning", f"import rclpy fails: {reason}", advice)


def messages() -> Check:
    """Look for the packages of messages, without importing them."""
    missing = [name for name in ("sensor_msgs", "std_msgs", "diagnostic_msgs", "lifecycle_msgs") if not find_spec(name)]
    if missing:
        advice = "rosdep install --from-paths src, or pip install 'querydiff_ros[ros]'"
        return Check("messages", "warning", f"{', '.join(missing)} missing", advice)
    use = {"vision_msgs": "for label_info", "cv_bridge": "for rare image encodings"}
    without = [f"{name} ({what})" for name, what in use.items() if not find_spec(name)]
    return Check("messages", "ok", ", without ".join(["all there", *([", ".join(without)] if without else [])]))


def profile(environment: Mapping[str, str] = os.environ) -> Check:
    """Look at the Fast DDS profile that processes started from here would use."""
    try:
        ours = dds_profile()
    except QueryDiffError as error:
        return Check("DDS profile", "warning", str(error).rstrip("."))
    chosen = environment.get("RMW_IMPLEMENTATION", "rmw_fastrtps_cpp")
    if "fastrtps" not in chosen:
        return Check("DDS profile", "absent", f"not read by {chosen}")
    old = environment.get("ROS_DISTRO", "jazzy") in OLD_FAST_DDS
    variable, other = PROFILE_VARIABLES if old else PROFILE_VARIABLES[::-1]
    advice = f"export {variable}={ours} where cameras are started"
    named = environment.get(variable)
    if not named:
        transports = environment.get("FASTDDS_BUILTIN_TRANSPORTS")
        found = f"FASTDDS_BUILTIN_TRANSPORTS={transports}" if transports else "none set here; our launch files set ours"
        found = f"only {other} is set, which this Fast DDS does not read" if environment.get(other) else found
        return Check("DDS profile", "warning", found, advice)
    return _named_profile(variable, named, advice)


def _named_profile(variable: str, named: str, advice: str) -> Check:
    try:
        size = _segment_size(Path(named))
    except OSError as error:
        found = f"{variable}={named} cannot be read: {one_line(error)}; Fast DDS uses none"
        return Check("DDS profile", "warning", found, advice)
    except (ElementTree.ParseError, ValueError) as error:
        return Check("DDS profile", "warning", f"{variable}={named} is no profile: {one_line(error)}", advice)
    if size < 4 * FRAME:
        found = f"{named} gives {size / 1e6:.1f} MB of shared memory, and a raw 1080p frame takes {FRAME / 1e6:.1f}"
        return Check("DDS profile", "warning", found, f"give segment_size four frames, or {advice}")
    return Check("DDS profile", "ok", f"{named}, {size / 1e6:.0f} MB of shared memory")


def _segment_size(file: Path) -> int:
    """Return the bytes of shared memory that a profile gives a process; where it does not say, Fast DDS gives 512 KB.

    Raises:
        OSError, ParseError, ValueError: if it cannot be read, or is no profile.
    """
    elements = ElementTree.parse(file).getroot().iter()
    sizes = [int(element.text or "") for element in elements if element.tag.rpartition("}")[2] == "segment_size"]
    return max(sizes, default=512 * 1024)


def socket_buffers(folder: Path = Path("/proc/sys/net/core")) -> Check:
    """Compare the kernel's limit of socket buffers with a raw frame: they count where shared memory does not reach."""
    try:
        limits = {name: int((folder / name).read_text()) for name in ("rmem_max", "wmem_max")}
    except (OSError, ValueError):
        return Check("socket buffers", "absent", f"{folder} cannot be read")
    found = ", ".join(f"{name} {limit / 1e6:.1f} MB" for name, limit in limits.items())
    if min(limits.values()) >= FRAME:
        return Check("socket buffers", "ok", found)
    settings = " ".join(f"net.core.{name}={BUFFER}" for name in limits)
    found = f"{found}: less than a raw 1080p frame of {FRAME / 1e6:.1f} MB"
    return Check("socket buffers", "warning", found, f"for cameras on other hosts: sudo sysctl -w {settings}")


def shared_memory(folder: Path = Path("/dev/shm")) -> Check:
    """Look at the space for shared memory: the node, a camera and a viewer take one segment each."""
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return Check("shared memory", "absent", f"no {folder}")
    found = f"{free / 1e6:.0f} MB free in {folder}"
    if free >= 3 * SEGMENT:
        return Check("shared memory", "ok", found)
    advice = "in Docker: --shm-size=1g; left over by killed processes: fastdds shm clean"
    return Check("shared memory", "warning", f"{found}; every process takes {SEGMENT / 1e6:.0f} MB", advice)
