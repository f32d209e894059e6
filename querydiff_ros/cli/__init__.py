"""ROS verbs of the `querydiff` command."""
