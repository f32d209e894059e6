"""The demo: a drive through five conditions, through the real node over DDS, with pictures and scores."""
