"""ROS 2 around `querydiff_core`: messages in, messages out."""
