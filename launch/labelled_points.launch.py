"""Label an RGB-D camera's images, or a camera beside a lidar, and give the points their classes.

ros2 launch querydiff_ros labelled_points.launch.py image_topic:=/camera/color/image_raw \
    depth_topic:=/camera/aligned_depth_to_color/image_raw

The arguments of segment.launch.py are taken too; of several cameras the first has the depth. Give `cameras` here, as
those of a params_file are not seen by the example.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node

from querydiff_ros.common.dds_profile import dds_profile_variables
from querydiff_ros.common.install_paths import executable_path
from querydiff_ros.common.launch_arguments import camera_names, number, switch, with_segment_node

OPTIONS = {
    "depth_topic": ("", "Depth images of the camera images' size; empty: <camera>/depth."),
    "points_topic": ("", "A lidar's points, to be used instead."),
    "camera_from_points": ("", "Where the lidar is in the camera's optical frame: 'x y z qx qy qz qw'."),
    "tolerance": ("0.02", "Seconds between the stamps of label and depth, at most."),
    "classes": ("", "Classes whose points are published, comma-separated; empty: all points."),
    "min_confidence": ("0.0", "Pixels less certain than this, 0 to 1, are unlabelled."),
}


def labelled_points(context: LaunchContext) -> list[Node]:
    """Return the node that the launch arguments describe."""
    names = ("cameras", "namespace", "use_sim_time", *OPTIONS)
    chosen = {name: LaunchConfiguration(name, default="").perform(context) for name in names}
    texts = ("depth_topic", "points_topic", "camera_from_points")
    parameters: dict[str, object] = {name: chosen[name] for name in texts if chosen[name]}
    parameters |= {name: number(chosen, name) for name in ("tolerance", "min_confidence")}
    parameters["camera"] = camera_names(chosen)[0] if chosen["cameras"] else "front"
    if chosen["classes"]:
        parameters["classes"] = camera_names(chosen, "classes")
    if chosen["use_sim_time"]:
        parameters["use_sim_time"] = switch(chosen, "use_sim_time")
    return [
        Node(
            executable=executable_path("labelled_points"),
            exec_name="labelled_points",
            name="labelled_points",
            namespace=chosen["namespace"],
            parameters=[parameters],
            additional_env=dds_profile_variables(),
            output="screen",
        )
    ]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, segment_node and the example."""
    declared = [DeclareLaunchArgument(name, default_value=d, description=m) for name, (d, m) in OPTIONS.items()]
    return LaunchDescription([*declared, *with_segment_node(__file__, labelled_points)])
