"""The verb `querydiff record-drive`: record a folder of images and labels as a drive."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

SUMMARY = "record a folder of images and labels as a rosbag2"


def main(argv: Sequence[str]) -> int:
    """Record; 0 on success."""
    arguments = _parser().parse_args(argv)
    # Imported late: `querydiff --help` must stay fast.
    from rich.progress import track  # noqa: PLC0415

    from querydiff_core.data.labelled_folder import LabelledFolder  # noqa: PLC0415
    from querydiff_core.label_space import label_mapping  # noqa: PLC0415
    from querydiff_ros.drive_recording import FIRST_STAMP_NS, DriveRecorder  # noqa: PLC0415

    folder = LabelledFolder(arguments.images, arguments.labels, label_mapping(arguments.mapping))
    with DriveRecorder(arguments.bag, arguments.camera, arguments.storage, not arguments.raw) as recorder:
        frames = track(folder, "recording", total=len(folder), transient=True, disable=not sys.stdout.isatty())
        for index, (image, labels, _) in enumerate(frames):
            stamp_ns = FIRST_STAMP_NS + round(index * 1e9 / arguments.rate)
            recorder.write(stamp_ns, image, labels, arguments.condition)
    labelled = "labelled" if folder.labelled else "unlabelled"
    print(f"{arguments.bag}: {len(folder)} {labelled} frames at {arguments.rate:g} Hz.")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="querydiff record-drive",
        description="Record a folder of images, and of labels if there are any, as a rosbag2 in the order of names.",
        epilog="example: querydiff record-drive camvid/val/images camvid.bag --labels camvid/val/labels "
        "--mapping camvid --rate 10",
    )
    parser.add_argument("images", type=Path, help="folder of images, or of images/ and labels/")
    parser.add_argument("bag", type=Path, help="the rosbag2 folder to make")
    parser.add_argument("--labels", type=Path, help="folder of label images, paired by name")
    parser.add_argument("--mapping", default="train_ids", help="what the label values mean: a name or a YAML file")
    parser.add_argument("--rate", type=_positive, default=10.0, help="frames a second (default: 10)")
    parser.add_argument("--condition", help="what to publish on /condition, such as clear, fog, night, rain or snow")
    parser.add_argument("--camera", default="front", help="namespace and frame id of the camera (default: front)")
    parser.add_argument("--storage", default="mcap", choices=["mcap", "sqlite3"], help="(default: mcap)")
    parser.add_argument("--raw", action="store_true", help="record raw rgb8 images instead of JPEG")
    return parser


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, found {text}")
    return value
