"""The subcommand `querydiff record-drive`: record a data set, or a folder of images and labels, as a drive."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import positive
from querydiff_core.errors import QueryDiffError

if TYPE_CHECKING:
    from querydiff_ros.bags.data_set_frames import DriveFrames

SUMMARY = "record a data set, or a folder of images and labels, as a rosbag2"


def main(argv: Sequence[str]) -> int:
    """Record; 0 on success."""
    arguments = parser().parse_args(argv)
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_core.utils.terminal import tracked
    from querydiff_ros.bags.bag_recorder import FIRST_STAMP_NS, DriveRecorder

    source = _folder(arguments) if arguments.data_set is None else _data_set(arguments)
    with DriveRecorder(arguments.bag, arguments.camera, arguments.storage, not arguments.raw) as recorder:
        frames = source.stamped(FIRST_STAMP_NS, arguments.rate)
        for frame in tracked(frames, "recording", len(source)):
            recorder.write(*frame)
    print(f"{arguments.bag}: {_counted(source)} at {arguments.rate:g} Hz.")
    return 0


def _folder(arguments: argparse.Namespace) -> DriveFrames:
    from querydiff_core.data.labelled_folder import LabelledFolder
    from querydiff_core.label_space import label_mapping
    from querydiff_ros.bags.data_set_frames import DriveFrames

    if arguments.split or arguments.sparse:
        raise QueryDiffError("--split and --sparse say how a data set is read: give --data-set too, such as folder.")
    mapping = label_mapping(arguments.mapping or "train_ids")
    folder = LabelledFolder(arguments.images, arguments.labels, mapping)
    return DriveFrames(folder, [arguments.condition] * len(folder))


def _data_set(arguments: argparse.Namespace) -> DriveFrames:
    from querydiff_ros.bags.data_set_frames import data_set_frames

    if arguments.labels:
        raise QueryDiffError("--labels names a folder, but a data set knows where its labels are: leave it out.")
    how = {name: getattr(arguments, name) for name in ("split", "condition", "mapping", "sparse")}
    return data_set_frames(arguments.data_set, arguments.images, **how)


def _counted(source: DriveFrames) -> str:
    if source.labelled in (0, len(source)):
        return f"{len(source)} {'labelled' if source.labelled else 'unlabelled'} frames"
    return f"{len(source)} frames, {source.labelled} of them labelled,"


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff record-drive",
        description="Record a data set, or a folder of images and labels, as a rosbag2, frame by frame in the order "
        "of names.",
        epilog="examples: querydiff record-drive /data/acdc acdc.bag --data-set acdc --split val; "
        "querydiff record-drive camvid/val/images camvid.bag --labels camvid/val/labels --mapping camvid --rate 10",
    )
    parser.add_argument("images", type=Path, help="root of the data set, or folder of images or of images/ and labels/")
    parser.add_argument("bag", type=Path, help="the rosbag2 folder to make")
    parser.add_argument("--data-set", metavar="SET", help="acdc, cityscapes_sequence, ...: see `querydiff data list`")
    parser.add_argument("--split", help="of the data set, such as val (default: its first)")
    parser.add_argument(
        "--sparse", action="store_true", help="images without labels become frames without ground truth"
    )
    parser.add_argument("--labels", type=Path, help="folder of label images, paired by name")
    parser.add_argument("--mapping", help="what the label values mean: a name or a YAML file (default: trainIds)")
    parser.add_argument("--rate", type=positive, default=10.0, help="frames a second (default: 10)")
    parser.add_argument(
        "--condition",
        help="what to publish on /condition, such as clear, fog, night, rain or snow; of data sets that tell the "
        "weather only this is recorded",
    )
    parser.add_argument("--camera", default="front", help="namespace and frame id of the camera (default: front)")
    parser.add_argument("--storage", default="mcap", choices=["mcap", "sqlite3"], help="(default: mcap)")
    parser.add_argument("--raw", action="store_true", help="record raw rgb8 images instead of JPEG")
    return parser
