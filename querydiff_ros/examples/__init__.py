"""What a consumer of the labels can look like."""
