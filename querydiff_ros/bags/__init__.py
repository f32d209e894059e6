"""Read, recover, record and play rosbag2 recordings."""
