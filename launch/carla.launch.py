"""Label and judge CARLA's camera: segment_node, carla_evaluation, drivable_area, and RViz when asked.

ros2 launch querydiff_ros carla.launch.py carla_version:=0.9.13 output:=carla.json   # beside carla-ros-bridge
ros2 launch querydiff_ros carla.launch.py carla_version:=0.9.16 rviz:=true           # beside CarlaUE4.sh --ros2
ros2 launch querydiff_ros carla.launch.py carla_version:=0.9.16 stand_in:=true       # without CARLA

The arguments of segment.launch.py are taken too, with one camera. Camera, topics and use_sim_time are CARLA's unless
arguments name others: those in a params_file are not used here.
"""

import posixpath
from collections.abc import Sequence

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    OpaqueFunction,
    SetLaunchConfiguration,
)
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from querydiff_core.errors import QueryDiffError
from querydiff_ros.carla.interface import RGB, STAND_IN_FOV, carla_interface
from querydiff_ros.common.dds_profile import dds_profile_variables
from querydiff_ros.common.install_paths import executable_path, share_directory
from querydiff_ros.common.launch_arguments import camera_names, number, switch, with_segment_node
from querydiff_ros.common.topics import topic_name

OPTIONS = {
    "vehicle": ("", "Name of the ego vehicle in CARLA's topics; empty: ego_vehicle, or hero in 0.9.16."),
    "rgb": (RGB, "Name of the RGB camera in CARLA's topics."),
    "semantic_topic": ("", "Topic of the ground truth; empty: semantic_segmentation_front of the vehicle."),
    "semantic_reliability": (
        "reliable",
        "Of the ground truth's topic: reliable, or best_effort in CARLA after 0.9.16.",
    ),
    "fov": ("", "The RGB camera's attribute fov in CARLA, degrees; empty: CARLA's 90, or the stand-in's."),
    "condition": ("carla", "Name of the weather until a message tells another."),
    "output": ("", "Result file of the evaluation; empty: none."),
}
SWITCHES = {
    "evaluation": ("true", "Score against the semantic camera."),
    "drivable_area": ("true", "Start the planner-side example drivable_area."),
    "rviz": ("false", "Start RViz with config/rviz/carla.rviz."),
    "stand_in": ("false", "Stand in for CARLA with a generated drive."),
}
CARLA_FOV = "90.0"


def choose_topics(context: LaunchContext) -> list[SetLaunchConfiguration]:
    """Give segment_node CARLA's RGB camera, unless the arguments name another."""
    chosen = configurations(context)
    interface = carla_interface(chosen["carla_version"])
    camera_info = topic_name(chosen["camera"], "camera_info")
    info = interface.topic(chosen["rgb"], chosen["vehicle"], "camera_info")
    topics = {
        "cameras": "front",
        "image_topic": interface.topic(chosen["rgb"], chosen["vehicle"]),
        # Where carla_camera_info puts the calibration right, it publishes on the camera's own topic.
        "camera_info_topic": camera_info if interface.degrees_bug else info,
        "use_sim_time": "true",
    }
    return [SetLaunchConfiguration(name, topic) for name, topic in topics.items() if not chosen[name]]


def beside_segment_node(context: LaunchContext) -> list[Node | ExecuteProcess]:
    """Return what the launch arguments describe but segment_node."""
    chosen = configurations(context)
    on = {name for name in SWITCHES if switch(chosen, name)}
    chosen["fov"] = chosen["fov"] or (f"{STAND_IN_FOV}" if "stand_in" in on else CARLA_FOV)
    interface = carla_interface(chosen["carla_version"])
    entities: list[Node | ExecuteProcess] = []
    if interface.degrees_bug:
        names = ("carla_version", "vehicle", "rgb", "fov")
        entities.append(node("carla_camera_info", names, chosen))
    if "evaluation" in on:
        names = ("carla_version", "vehicle", "semantic_topic", "semantic_reliability", "condition", "output", "engine")
        entities.append(node("carla_evaluation", names, chosen))
    if "drivable_area" in on:
        entities.append(node("drivable_area", (), chosen))
    if "rviz" in on:
        config = share_directory() / "config" / "rviz" / "carla.rviz"
        remap = [("/carla/rgb", interface.topic(chosen["rgb"], chosen["vehicle"]))]
        for name in ("overlay", "confidence", "drivable_area"):
            remap.append((f"/front/{name}", posixpath.join("/", chosen["namespace"], chosen["camera"], name)))
        entities.append(
            Node(executable=executable_path("rviz2", "rviz2"), arguments=["-d", str(config)], remappings=remap)
        )
    if "stand_in" in on:
        entities.append(stand_in(chosen))
    return entities


def configurations(context: LaunchContext) -> dict[str, str]:
    """Return the launch arguments, those of segment.launch.py that matter here too, and the name of the camera.

    Raises:
        QueryDiffError: if there are several cameras.
    """
    names = ("carla_version", "engine", "cameras", "namespace", "image_topic", "camera_info_topic", "use_sim_time")
    names = (*names, *OPTIONS, *SWITCHES)
    chosen = {name: LaunchConfiguration(name, default="").perform(context) for name in names}
    cameras = camera_names(chosen) if chosen["cameras"] else ["front"]
    if len(cameras) > 1:
        raise QueryDiffError(
            f"carla.launch.py scores one camera, and launch argument cameras names {len(cameras)}: "
            f"{', '.join(cameras)}. Label the others with segment.launch.py."
        )
    return chosen | {"camera": cameras[0]}


def node(executable: str, names: Sequence[str], chosen: dict[str, str]) -> Node:
    """Return one of our nodes with those launch arguments as parameters; empty ones are left to it."""
    parameters: dict[str, object] = {name: chosen[name] for name in names if chosen[name]}
    parameters["camera"] = chosen["camera"]
    if "fov" in parameters:
        parameters["fov"] = number(chosen, "fov")
    parameters["use_sim_time"] = switch(chosen, "use_sim_time")
    return Node(
        executable=executable_path(executable),
        exec_name=executable,
        name=executable,
        namespace=chosen["namespace"],
        parameters=[parameters],
        additional_env=dds_profile_variables(),
        output="screen",
    )


def stand_in(chosen: dict[str, str]) -> ExecuteProcess:
    """Return the stand-in bridge, which goes on until the launch ends."""
    command = [executable_path("carla_stand_in"), "--carla-version", chosen["carla_version"], "--loop"]
    vehicle = ["--vehicle", chosen["vehicle"]] if chosen["vehicle"] else []
    return ExecuteProcess(
        cmd=[*command, *vehicle], name="carla_stand_in", additional_env=dds_profile_variables(), output="screen"
    )


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the nodes."""
    versions = "Which CARLA runs: 0.9.13 (carla-ros-bridge), 0.9.15 or 0.9.16 (native ROS 2)."
    declared = [DeclareLaunchArgument("carla_version", description=versions)]
    declared += [
        DeclareLaunchArgument(name, default_value=default, description=meaning)
        for name, (default, meaning) in {**OPTIONS, **SWITCHES}.items()
    ]
    choose = OpaqueFunction(function=choose_topics)
    return LaunchDescription([*declared, choose, *with_segment_node(__file__, beside_segment_node)])
