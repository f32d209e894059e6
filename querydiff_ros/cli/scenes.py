"""The subcommand `querydiff scenes`: generate street scenes as a data set folder or as a drive in a rosbag2."""

from __future__ import annotations

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from querydiff_core.cli.argument_types import image_size
from querydiff_core.conditions import CONDITIONS

SUMMARY = "generate labelled street scenes: a data set folder, or a drive as a rosbag2"


def main(argv: Sequence[str]) -> int:
    """Generate; 0 on success."""
    arguments = parser().parse_args(argv)
    # Imported late: `querydiff --help` must stay fast.
    import cv2

    cv2.setNumThreads(1)  # scenes are small: threads cost more than they bring
    if arguments.what == "images":
        return _write_images(arguments)
    return _write_drive(arguments)


def _write_images(arguments: argparse.Namespace) -> int:
    from querydiff_core.street_scenes.groups import GROUPS, check_groups
    from querydiff_core.street_scenes.scene_folder import SceneFolder
    from querydiff_core.utils.terminal import progress

    without = _names(arguments.without)
    check_groups(without)
    folder = SceneFolder(
        arguments.output,
        arguments.count,
        arguments.image_size,
        arguments.seed,
        _names(arguments.conditions),
        tuple(group for group in GROUPS if group not in without),
    )
    with progress("rendering scenes", arguments.count) as report:
        for done in folder.write(arguments.workers):
            report(done)
    print(f"{arguments.output}: {arguments.count} scenes of {_words(arguments.image_size)} with labels.")
    return 0


def _write_drive(arguments: argparse.Namespace) -> int:
    from querydiff_core.street_scenes import render_drive
    from querydiff_ros.bags.bag_recorder import DriveRecorder

    frames = render_drive(
        arguments.seed, arguments.frames, arguments.image_size, arguments.rate, _names(arguments.conditions)
    )
    with DriveRecorder(arguments.output, arguments.camera, arguments.storage) as recorder:
        recorder.write_generated(frames, arguments.frames)
    print(f"{arguments.output}: {arguments.frames} frames of {_words(arguments.image_size)} at {arguments.rate:g} Hz.")
    return 0


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _words(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff scenes",
        description="Generate street scenes with exact labels of the 19 Cityscapes classes.",
        epilog="example: querydiff scenes images --output build/scenes --count 1000 --conditions fog,night",
    )
    subcommands = parser.add_subparsers(dest="what", required=True, metavar="images|drive")
    images = subcommands.add_parser(
        "images",
        help="single scenes, each in another street: images/*.jpg, labels/*.png, dataset.yaml",
        description="Write single scenes as a data set folder; what is there already is kept, so it can be resumed. "
        "`--conditions painted` paints clear scenes as four painters would: the extreme domain.",
        epilog="example: querydiff scenes images --output build/scenes --count 1000 --image-size 256x512 --workers 2",
    )
    images.add_argument("--output", type=Path, required=True, help="the folder to fill")
    images.add_argument("--count", type=int, default=100, help="how many scenes (default: 100)")
    images.add_argument("--without", default="", help="groups of docs/street_scenes.md to leave out, as roads,weather")
    images.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: all cores)")
    drive = subcommands.add_parser(
        "drive",
        help="one continuous drive as a rosbag2 with images, ground truth and conditions",
        description="Write one drive through the conditions in turn as a rosbag2.",
        epilog="example: querydiff scenes drive --output build/drive --frames 300 --rate 10",
    )
    drive.add_argument("--output", type=Path, required=True, help="the rosbag2 folder to make")
    drive.add_argument("--frames", type=int, default=300, help="how many frames (default: 300)")
    drive.add_argument("--rate", type=float, default=10.0, help="frames a second (default: 10)")
    drive.add_argument("--camera", default="front", help="namespace and frame id of the camera (default: front)")
    drive.add_argument("--storage", default="mcap", choices=["mcap", "sqlite3"], help="(default: mcap)")
    for subcommand in (images, drive):
        _add_shared(subcommand)
    return parser


def _add_shared(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--image-size", type=image_size, default=(256, 512), metavar="HxW", help="(default: 256x512)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed makes the same pictures (default: 0)")
    parser.add_argument("--conditions", default=",".join(CONDITIONS), help="which, in turn (default: %(default)s)")
