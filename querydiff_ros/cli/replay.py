"""The subcommand `querydiff replay`: play a recorded drive into ROS topics."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import not_negative
from querydiff_core.errors import QueryDiffError
from querydiff_ros.common.ros_session import end_like_ctrl_c, ros_node, split_ros_args

if TYPE_CHECKING:
    from querydiff_ros.bags.bag_player import BagPlayer, ReplayOptions
    from querydiff_ros.bags.bag_reader import BagReader

SUMMARY = "play a recorded drive (rosbag2) into ROS topics"


def main(argv: Sequence[str]) -> int:
    """Play a bag; 0 on success, 1 if nothing was played or a frame in lockstep got no label."""
    own, ros_args = split_ros_args(argv)
    arguments = parser().parse_args(own)
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_ros.bags.bag_reader import BagReader

    end_like_ctrl_c()
    bag = BagReader(Path(arguments.bag).expanduser())
    with ros_node("replay_drive", ros_args) as node:
        from querydiff_ros.bags.bag_player import BagPlayer

        known = bag.damage
        for sentence in filter(None, [known, *bag.notes]):
            _warn(sentence)
        replayer = BagPlayer(node, bag, _options(arguments), say=_warn)
        _report_start(replayer, arguments)
        messages = _play(bag, replayer, arguments.loop)
    if bag.damage and bag.damage != known:
        _warn(bag.damage)
    return _report_end(replayer, messages, arguments)


def _report_start(replayer: BagPlayer, arguments: argparse.Namespace) -> None:
    if replayer.wait_for_subscriber():
        return
    if arguments.lockstep:
        raise QueryDiffError(
            f"Within {arguments.wait:g} s no active node both took the images of {arguments.bag} and published labels: "
            "start segment_node with these cameras, or give --wait more time."
        )
    _warn(f"Nobody subscribed within {arguments.wait:g} s; playing all the same.")


def _play(bag: BagReader, replayer: BagPlayer, endless: bool) -> int:
    """Play to the end and return the number of messages."""
    from querydiff_core.utils.terminal import tracked

    total = None if endless else sum(topic.count for topic in bag.topics.values())
    return sum(1 for _ in tracked(replayer.play(), f"playing {bag.path.name}", total))


def _report_end(replayer: BagPlayer, messages: int, arguments: argparse.Namespace) -> int:
    skipped = f", {replayer.skipped} skipped" if replayer.skipped else ""
    print(f"{messages} messages played{skipped}.", end="")
    if not arguments.lockstep:
        print()
        return 0 if messages else 1
    print(f" {replayer.frames_labelled} of {replayer.frames_published} frames labelled.")
    return 0 if 0 < replayer.frames_labelled == replayer.frames_published else 1


def _warn(sentence: str) -> None:
    print(f"warning: {sentence}", file=sys.stderr)


def _options(arguments: argparse.Namespace) -> ReplayOptions:
    from querydiff_ros.bags.bag_player import ReplayOptions

    values = {name: value for name, value in vars(arguments).items() if name != "bag"}
    return ReplayOptions(**values | {"topics": tuple(arguments.topics)})


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff replay",
        description="Play a rosbag2 (mcap or sqlite3) into ROS topics, byte for byte, at the recorded times.",
        epilog="example: querydiff replay build/demo/drive --lockstep --rate 0; "
        "rename topics with --ros-args -r /front/image:=/camera/image",
    )
    parser.add_argument("bag", help="a rosbag2 folder, or one of its .mcap or .db3 files")
    parser.add_argument("--rate", type=not_negative, default=1.0, help="times the recorded speed; 0: no pauses")
    parser.add_argument("--start", type=not_negative, default=0.0, help="seconds into the bag")
    parser.add_argument("--topics", nargs="+", default=[], metavar="TOPIC", help="the topics to play (default: all)")
    parser.add_argument("--loop", action="store_true", help="start again at the end, until Ctrl-C")
    parser.add_argument("--lockstep", action="store_true", help="wait for a frame's label before going on")
    parser.add_argument(
        "--clock", action="store_true", help="publish the recorded time on /clock, unless the bag has one"
    )
    parser.add_argument("--max-gap", type=not_negative, default=60.0, help="leave out longer pauses, seconds")
    parser.add_argument("--wait", type=not_negative, default=10.0, help="seconds to wait for a subscriber")
    parser.add_argument("--timeout", type=not_negative, default=10.0, help="seconds to wait for a label (lockstep)")
    return parser
