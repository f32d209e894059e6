"""Start segment_node and bring it to active; start it again, and bring it to active again, should it die.

ros2 launch querydiff_ros segment.launch.py cameras:=front,rear engine:=/path/to/model.onnx
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import LifecycleNode

from querydiff_ros.common.dds_profile import dds_profile_variables
from querydiff_ros.common.install_paths import executable_path

ARGUMENTS = {
    "engine": ("", "Exported engine or checkpoint file; empty: params_file's, or the shipped default."),
    "cameras": ("", "Camera namespaces, comma-separated, such as front,rear; empty: params_file's, or front."),
    "provider": ("", "what runs .onnx: auto, cpu, cuda, tensorrt or openvino; empty: params_file's, or auto."),
    "cuda_graphs": ("", "true replays .pt2 and .engine files as CUDA graphs; empty: params_file's, or false."),
    "fallback": ("", "true runs the checkpoint of an engine built elsewhere; empty: params_file's, or false."),
    "namespace": ("", "Namespace of the node and its cameras."),
    "params_file": ("", "YAML file of parameters, like config/ros/segment.yaml; the arguments above override it."),
    "log_level": ("info", "debug, info, warn, error or fatal."),
    "use_sim_time": ("false", "Follow /clock, for bags and simulators."),
    "bring_up": ("true", "Configure and activate the node; false leaves that to a lifecycle manager."),
    "respawn": ("true", "Start the node again two seconds after it died."),
}


def segment_node(context: LaunchContext) -> list[LifecycleNode]:
    """Return the node that the launch arguments describe."""
    chosen = {name: LaunchConfiguration(name).perform(context) for name in ARGUMENTS}
    # The node brings itself up, so that it does so after every respawn, without a second party that must notice.
    switches = [name for name in ("bring_up", "use_sim_time", "cuda_graphs", "fallback") if chosen[name]]
    parameters = {name: chosen[name].lower() in ("true", "1", "yes") for name in switches}
    parameters |= {name: chosen[name] for name in ("engine", "provider") if chosen[name]}
    if chosen["cameras"]:
        parameters["cameras"] = [camera.strip() for camera in chosen["cameras"].split(",")]
    logger = f"{chosen['namespace']}/segment_node".strip("/").replace("/", ".")
    return [
        LifecycleNode(
            executable=executable_path("segment_node"),
            exec_name="segment_node",
            name="segment_node",
            namespace=chosen["namespace"],
            parameters=[*filter(None, [chosen["params_file"]]), parameters],
            ros_arguments=["--log-level", f"{logger}:={chosen['log_level']}"],
            additional_env=dds_profile_variables(),
            respawn=chosen["respawn"].lower() in ("true", "1", "yes"),
            respawn_delay=2.0,
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments and the node."""
    declared = [DeclareLaunchArgument(name, default_value=d, description=m) for name, (d, m) in ARGUMENTS.items()]
    return LaunchDescription([*declared, OpaqueFunction(function=segment_node)])
