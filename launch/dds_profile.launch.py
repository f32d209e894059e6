"""Set the DDS profile for large images for every process that is started after this: include it before your drivers.

IncludeLaunchDescription(PythonLaunchDescriptionSource(<share of querydiff_ros>/launch/dds_profile.launch.py))

A camera driver without it delivers few of its raw frames. A profile or transport that you have set stays.
"""

from launch import LaunchDescription
from launch.actions import SetEnvironmentVariable

from querydiff_ros.common.dds_profile import dds_profile_variables


def generate_launch_description() -> LaunchDescription:
    """Return the settings of the environment."""
    return LaunchDescription([SetEnvironmentVariable(name, value) for name, value in dds_profile_variables().items()])
