"""What several nodes and commands share."""
