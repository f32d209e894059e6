"""Which images a camera's calibration is of."""

from __future__ import annotations

from sensor_msgs.msg import CameraInfo


def image_sizes(calibration: CameraInfo) -> list[tuple[int, int]]:
    """Return the (width, height) that images of a calibrated camera may have: whole, or of its region, or binned."""
    roi = calibration.roi
    full = [(calibration.width, calibration.height), (roi.width, roi.height)]
    binning = max(calibration.binning_x, 1), max(calibration.binning_y, 1)
    return full + [(width // binning[0], height // binning[1]) for width, height in full]
