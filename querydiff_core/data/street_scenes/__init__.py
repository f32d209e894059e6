"""A procedural world of street scenes with exact labels."""
