"""What the build machine runs: from a checkpoint to an engine for the robot."""
