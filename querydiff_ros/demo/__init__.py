"""The demo: a drive through five conditions, labelled by the real node over DDS, with pictures and scores."""
