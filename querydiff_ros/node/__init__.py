"""The segment node."""
