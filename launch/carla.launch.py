"""Label and judge CARLA's camera: segment_node, carla_evaluation, drivable_area, and RViz when asked.

ros2 launch querydiff_ros carla.launch.py carla_version:=0.9.13 output:=carla.json   # beside carla-ros-bridge
ros2 launch querydiff_ros carla.launch.py carla_version:=0.9.16 rviz:=true           # beside CarlaUE4.sh --ros2
ros2 launch querydiff_ros carla.launch.py carla_version:=0.9.16 stand_in:=true       # without CARLA

The arguments of segment.launch.py are taken too.
"""

from collections.abc import Sequence
from pathlib import Path

from launch import LaunchContext, LaunchDescription, LaunchDescriptionEntity
from launch.actions import (
    DeclareLaunchArgument,
    ExecuteProcess,
    GroupAction,
    IncludeLaunchDescription,
    OpaqueFunction,
)
from launch.launch_description_sources import PythonLaunchDescriptionSource
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node, SetRemap

from querydiff_ros.carla.interface import RGB, CarlaInterface, carla_interface
from querydiff_ros.common.dds_profile import dds_profile_variables
from querydiff_ros.common.install_paths import executable_path, share_directory

OPTIONS = {
    "camera": ("front", "Namespace of the labels: front/label, front/confidence, front/overlay, ..."),
    "vehicle": ("", "Name of the ego vehicle in CARLA's topics; empty: ego_vehicle, or hero in 0.9.16."),
    "rgb": (RGB, "Name of the RGB camera in CARLA's topics."),
    "semantic_topic": ("", "Topic of the ground truth; empty: semantic_segmentation_front of the vehicle."),
    "semantic_reliability": (
        "reliable",
        "Of the ground truth's topic: reliable, or best_effort in CARLA after 0.9.16.",
    ),
    "fov": ("90.0", "The RGB camera's attribute fov in CARLA, degrees: native camera_info is put right by it."),
    "condition": ("carla", "Name of the weather until a message tells another."),
    "output": ("", "Result file of the evaluation; empty: none."),
    "use_sim_time": ("true", "Follow CARLA's /clock."),
}
SWITCHES = {
    "evaluation": ("true", "Score against the semantic camera."),
    "drivable_area": ("true", "Start the planner-side example drivable_area."),
    "rviz": ("false", "Start RViz with config/rviz/carla.rviz."),
    "stand_in": ("false", "Stand in for CARLA with a generated drive."),
}


def carla(context: LaunchContext) -> list[LaunchDescriptionEntity]:
    """Return what the launch arguments describe."""
    chosen = {name: LaunchConfiguration(name).perform(context) for name in ("carla_version", "engine", *OPTIONS)}
    on = {name for name in SWITCHES if LaunchConfiguration(name).perform(context).lower() in ("true", "1", "yes")}
    interface = carla_interface(chosen["carla_version"])
    entities = [segment_node(interface, chosen)]
    if interface.degrees_bug:
        names = ("carla_version", "camera", "vehicle", "rgb", "fov")
        entities.append(node("carla_camera_info", "carla_camera_info", names, chosen))
    if "evaluation" in on:
        names = ("carla_version", "camera", "vehicle", "semantic_topic", "semantic_reliability")
        names += ("condition", "output", "engine")
        entities.append(node("carla_evaluation", "carla_evaluation", names, chosen))
    if "drivable_area" in on:
        entities.append(node("drivable_area", "drivable_area", ("camera",), chosen))
    if "rviz" in on:
        config = share_directory() / "config" / "rviz" / "carla.rviz"
        remap = [("/carla/rgb", interface.topic(chosen["rgb"], chosen["vehicle"]))]
        entities.append(Node(package="rviz2", executable="rviz2", arguments=["-d", str(config)], remappings=remap))
    if "stand_in" in on:
        entities.append(stand_in(chosen))
    return entities


def segment_node(interface: CarlaInterface, chosen: dict[str, str]) -> GroupAction:
    """Return segment_node on CARLA's RGB camera."""
    camera, vehicle = chosen["camera"], chosen["vehicle"]
    remaps = {f"{camera}/image": interface.topic(chosen["rgb"], vehicle)}
    if not interface.degrees_bug:  # else carla_camera_info publishes on camera_info
        remaps[f"{camera}/camera_info"] = interface.topic(chosen["rgb"], vehicle, "camera_info")
    launch_file = PythonLaunchDescriptionSource(str(Path(__file__).with_name("segment.launch.py")))
    arguments = {"cameras": camera, "use_sim_time": chosen["use_sim_time"], "engine": chosen["engine"]}
    include = IncludeLaunchDescription(launch_file, launch_arguments=arguments.items())
    return GroupAction([*(SetRemap(src=src, dst=dst) for src, dst in remaps.items()), include])


def node(executable: str, name: str, names: Sequence[str], chosen: dict[str, str]) -> Node:
    """Return one of our nodes with those launch arguments as parameters; empty ones are left to it."""
    parameters: dict[str, object] = {key: chosen[key] for key in names if chosen[key]}
    if "fov" in parameters:
        parameters["fov"] = float(chosen["fov"])
    parameters["use_sim_time"] = chosen["use_sim_time"].lower() in ("true", "1", "yes")
    return Node(
        executable=executable_path(executable),
        exec_name=executable,
        name=name,
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
    engine = "Exported engine or checkpoint file; empty: the shipped default."
    declared.append(DeclareLaunchArgument("engine", default_value="", description=engine))
    return LaunchDescription([*declared, OpaqueFunction(function=carla)])
