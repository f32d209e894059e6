"""The subcommand `querydiff demo`: watch the real node label a drive through five conditions."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from querydiff_core.cli.argument_types import image_size
from querydiff_core.cli.engine_arguments import add_engine_arguments, engine_options
from querydiff_core.cli.view_arguments import add_view_arguments, opened_view

SUMMARY = "label a drive through five conditions with the real node: video, pictures, scores"


def main(argv: Sequence[str]) -> int:
    """Run the demo; 0 on success."""
    arguments = parser().parse_args(argv)
    from querydiff_ros.common.ros_session import start_apart

    start_apart()
    from querydiff_ros.demo.run_demo import DemoOptions, run_demo

    own = {name: getattr(arguments, name) for name in ("output", "frames", "seed", "drive", "score")}
    options = DemoOptions(**own, size=arguments.image_size, engine=engine_options(arguments))
    with opened_view(arguments) as view:
        run_demo(options, view)
    return 0


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff demo",
        description="Render a drive through clear air, fog, night, rain and snow, or take a recorded one, replay it "
        "over DDS into segment_node running as its own process, and write what came back.",
        epilog="example: querydiff demo --drive camvid.bag --score camvid --output build/camvid",
    )
    parser.add_argument(
        "--output", type=Path, default=Path("build/demo"), help="folder to write (default: %(default)s)"
    )
    parser.add_argument(
        "--frames", type=_count, default=150, help="length of the rendered drive (default: %(default)s)"
    )
    parser.add_argument(
        "--image-size", type=image_size, default=(256, 512), metavar="HxW", help="of its frames (default: 256x512)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the rendered drive (default: %(default)s)")
    parser.add_argument("--drive", type=Path, help="label this rosbag2 instead of a rendered drive")
    parser.add_argument(
        "--score",
        default="train_ids",
        metavar="MAPPING",
        help="judge the classes of this label mapping, such as camvid",
    )
    add_view_arguments(parser)
    add_engine_arguments(parser, size=False)
    return parser


def _count(text: str) -> int:
    if not text.isdigit() or int(text) < 5:
        raise argparse.ArgumentTypeError(f"must be a number of 5 or more, one for each condition, found {text}")
    return int(text)
