"""A procedural world of street scenes with exact labels: single images and drives in five conditions."""

from querydiff_core.data.street_scenes.drive import CameraInfo, DriveFrame, render_drive
from querydiff_core.data.street_scenes.scene import StreetScene, render_scene
from querydiff_core.data.street_scenes.weather import CONDITIONS

__all__ = ["CONDITIONS", "CameraInfo", "DriveFrame", "StreetScene", "render_drive", "render_scene"]
