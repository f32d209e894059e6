"""Start segment_node and replay a recorded drive into it; everything stops when the replay ends.

ros2 launch querydiff_ros replay.launch.py bag:=/path/to/drive lockstep:=true

The arguments of segment.launch.py are taken too.
"""

from launch import LaunchContext, LaunchDescription
from launch.actions import (
    DeclareLaunchArgument,
    EmitEvent,
    ExecuteProcess,
    RegisterEventHandler,
)
from launch.event_handlers import OnProcessExit
from launch.events import Shutdown
from launch.events.process import ProcessExited
from launch.substitutions import LaunchConfiguration

from querydiff_ros.common.dds_profile import dds_profile_variables
from querydiff_ros.common.install_paths import executable_path
from querydiff_ros.common.launch_arguments import switch, with_segment_node

OPTIONS = {
    "rate": ("1.0", "Times the recorded speed; 0: no pauses."),
    "start": ("0.0", "Seconds into the bag."),
    "wait": ("60.0", "Seconds to wait for the node to listen."),
    "max_gap": ("60.0", "Seconds of recorded time; longer pauses are left out."),
    "timeout": ("10.0", "Seconds to wait for a label in lockstep."),
}
SWITCHES = {
    "lockstep": ("false", "Wait for a frame's label before going on."),
    "loop": ("false", "Start again at the end."),
    "clock": ("false", "Publish the recorded time on /clock, for use_sim_time:=true."),
}


def replay(context: LaunchContext) -> list[ExecuteProcess | RegisterEventHandler]:
    """Return the replay that the launch arguments describe, and what ends the launch after it."""
    chosen = {name: LaunchConfiguration(name).perform(context) for name in ("bag", *OPTIONS, *SWITCHES)}
    options = [word for name in OPTIONS for word in (f"--{name.replace('_', '-')}", chosen[name])]
    switches = [f"--{name}" for name in SWITCHES if switch(chosen, name)]
    process = ExecuteProcess(
        cmd=[executable_path("replay_drive"), chosen["bag"], *options, *switches],
        name="replay_drive",
        additional_env=dds_profile_variables(),
        output="screen",
    )
    return [process, RegisterEventHandler(OnProcessExit(target_action=process, on_exit=stop))]


def stop(event: ProcessExited, context: LaunchContext) -> list[EmitEvent]:
    """End everything with the replay, unless everything is ending already."""
    return [] if context.is_shutdown else [EmitEvent(event=Shutdown(reason="the replay has ended"))]


def generate_launch_description() -> LaunchDescription:
    """Return the arguments, the node and the replay."""
    declared = [DeclareLaunchArgument(name, default_value=d, description=m) for name, (d, m) in OPTIONS.items()]
    declared += [DeclareLaunchArgument(name, default_value=d, description=m) for name, (d, m) in SWITCHES.items()]
    return LaunchDescription(
        [
            DeclareLaunchArgument("bag", description="A rosbag2 folder, or one of its .mcap or .db3 files."),
            *declared,
            *with_segment_node(__file__, replay),
        ]
    )
