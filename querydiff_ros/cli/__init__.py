"""ROS subcommands of the `querydiff` command."""
