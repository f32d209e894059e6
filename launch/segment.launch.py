"""Start segment_node and bring it to active; start it again, and bring it to active again, should it die.

ros2 launch querydiff_ros segment.launch.py cameras:=front,rear engine:=/path/to/model.onnx
"""

from inspect import signature

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, ExecuteLocal, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode
from launch_ros.utilities import prefix_namespace

from querydiff_ros.common.dds_profile import dds_profile_variables
from querydiff_ros.common.install_paths import executable_path
from querydiff_ros.common.launch_arguments import camera_names, existing_file, switch

ARGUMENTS = {
    "engine": ("", "Exported engine or checkpoint file; empty: params_file's, or the shipped default."),
    "cameras": ("", "Camera namespaces, comma-separated, such as front,rear; empty: params_file's, or front."),
    "image_topic": ("", "Topics of raw images, one for each camera, such as /usb/image_raw; empty: <camera>/image."),
    "camera_info_topic": ("", "Topics of the calibrations; empty: camera_info beside the images."),
    "provider": ("", "What runs .onnx: auto, cpu, cuda, tensorrt or openvino; empty: params_file's, or auto."),
    "cuda_graphs": ("", "true replays .pt2 and .engine files as CUDA graphs; empty: params_file's, or false."),
    "fallback": ("", "true runs the checkpoint of an engine built elsewhere; empty: params_file's, or false."),
    "namespace": ("", "Namespace of the node and its cameras."),
    "params_file": ("", "YAML file of parameters, like config/ros/segment.yaml; the arguments given override it."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "use_sim_time": ("", "true follows /clock, for bags and simulators; empty: params_file's, or false."),
    "bring_up": ("", "false leaves configuring and activating to a lifecycle manager; empty: params_file's, or true."),
    "respawn": ("true", "Start the node again two seconds after it died."),
}
MOST_RESPAWNS = 10
"""Starts after which a node that dies is left alone: what fails so often will go on to fail."""


def segment_node(context: LaunchContext) -> list[LifecycleNode]:
    """Return the node that the launch arguments describe."""
    chosen = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    texts = ("engine", "provider", "image_topic", "camera_info_topic")
    parameters: dict[str, object] = {name: chosen[name] for name in texts if chosen[name]}
    switches = ("bring_up", "use_sim_time", "cuda_graphs", "fallback")
    parameters |= {name: switch(chosen, name) for name in switches if chosen[name]}
    if chosen["cameras"]:
        parameters["cameras"] = camera_names(chosen)
    files = [existing_file(chosen, "params_file")] if chosen["params_file"] else []
    namespace = prefix_namespace(context.launch_configurations.get("ros_namespace"), chosen["namespace"])
    logger = f"{namespace}/segment_node".strip("/").replace("/", ".")
    limited = "respawn_max_retries" in signature(ExecuteLocal.__init__).parameters  # not in Humble
    return [
        LifecycleNode(
            executable=executable_path("segment_node"),
            exec_name="segment_node",
            name="segment_node",
            namespace=chosen["namespace"],
            parameters=[*files, parameters],
            # The node brings itself up, so that it does so after every respawn, without a second party that must
            # notice. These words come first: files override them.
            ros_arguments=["-p", "bring_up:=true", "--log-level", f"{logger}:={chosen['log_level']}"],
            additional_env=dds_profile_variables(),
            respawn=switch(chosen, "respawn"),
            respawn_delay=2.0,
            output="screen",
            **({"respawn_max_retries": MOST_RESPAWNS} if limited else {}),
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    declared = [DeclareLaunchArgument(name, default_value=d, description=m) for name, (d, m) in ARGUMENTS.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=segment_node)])
