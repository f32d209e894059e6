"""The drive that the demo labels when it is given none."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from rich.progress import track

from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes import render_drive
from querydiff_ros.bags.bag_recorder import FIRST_STAMP_NS, DriveRecorder

RATE = 10.0


def record_generated_drive(bag: Path, frames: int, size: tuple[int, int], seed: int) -> None:
    """Render `frames` frames of `size` (height, width) through every condition into the new rosbag2 `bag`.

    A bag that an earlier demo left there is replaced.

    Raises:
        QueryDiffError: if `bag` exists and is no bag.
    """
    if (bag / "metadata.yaml").is_file():
        shutil.rmtree(bag)
    elif bag.exists():
        raise QueryDiffError(f"{bag} is in the way of the demo's bag: move it, or choose another --output.")
    with DriveRecorder(bag) as recorder:
        drive = render_drive(seed, frames, size=size, rate=RATE)
        for frame in track(drive, "rendering a drive", total=frames, transient=True, disable=not sys.stdout.isatty()):
            stamp, focal_length = FIRST_STAMP_NS + frame.stamp, frame.camera_info.focal_length
            recorder.write(stamp, frame.image, frame.labels, frame.condition, focal_length)
