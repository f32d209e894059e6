"""A procedural world of street scenes with exact labels: single images and drives in five conditions."""

from querydiff_core.conditions import CONDITIONS
from querydiff_core.street_scenes.drive import CameraInfo, DriveFrame, render_drive
from querydiff_core.street_scenes.scene import StreetScene, render_scene

__all__ = ["CONDITIONS", "CameraInfo", "DriveFrame", "StreetScene", "render_drive", "render_scene"]
