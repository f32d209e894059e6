"""The executable `carla_stand_in`: publish a generated drive as CARLA's bridges would."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import count, image_size, not_negative
from querydiff_ros.common.ros_session import valid_topics

if TYPE_CHECKING:
    from querydiff_core.street_scenes import DriveFrame


def main(argv: Sequence[str]) -> int:
    """Publish a drive until it ends; 1 if it has no frame."""
    from querydiff_ros.common.ros_session import end_like_ctrl_c, ros_node, split_ros_args

    own, ros_args = split_ros_args(argv)
    arguments = parser().parse_args(own)
    end_like_ctrl_c()
    with ros_node("carla_stand_in", ros_args) as node:
        from querydiff_ros.carla.interface import carla_interface
        from querydiff_ros.carla.stand_in_bridge import CarlaStandIn, StandInOptions

        options = StandInOptions(
            rate=arguments.rate,
            lockstep=arguments.lockstep,
            coded=arguments.coded,
            camera=arguments.camera,
            vehicle=arguments.vehicle,
            wait=arguments.wait,
            timeout=arguments.timeout,
        )
        interface = carla_interface(arguments.carla_version)
        with valid_topics():
            stand_in = CarlaStandIn(node, interface, options)
        print(f"Standing in for {interface.name}.", flush=True)
        for _ in stand_in.play(_frames(arguments)):
            pass
        print(f"{stand_in.published} frames published.")
    return 0 if stand_in.published else 1


def _frames(arguments: argparse.Namespace) -> Iterator[DriveFrame]:
    from querydiff_core.street_scenes import CONDITIONS, render_drive

    rate = arguments.rate or 10.0
    drive = render_drive(
        arguments.seed, arguments.frames, arguments.image_size, rate, arguments.conditions or CONDITIONS
    )
    kept = []
    for frame in drive:
        yield frame
        if arguments.loop:
            kept.append(frame)
    length, passed = round(arguments.frames * 1e9 / rate), 0
    while kept:
        passed += length
        yield from (replace(frame, stamp=frame.stamp + passed) for frame in kept)


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="carla_stand_in",
        description="Publish a generated drive, ground truth included, on exactly the topics, types, encodings, "
        "palettes and QoS of one of CARLA's ROS 2 interfaces, for tests and for people without CARLA.",
        epilog="example: carla_stand_in --carla-version 0.9.16 --frames 100 --conditions clear fog",
    )
    parser.add_argument("--carla-version", required=True, help="0.9.13 (carla-ros-bridge), 0.9.15 or 0.9.16 (native)")
    parser.add_argument("--frames", type=count, default=50, help="length of the drive (default: 50)")
    parser.add_argument("--rate", type=not_negative, default=10.0, help="frames a second; 0: no pauses (default: 10)")
    parser.add_argument("--image-size", type=image_size, default=(256, 512), metavar="HxW", help="(default: 256x512)")
    parser.add_argument("--conditions", nargs="+", metavar="NAME", help="weathers, one after the other (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="which drive (default: 0)")
    parser.add_argument("--vehicle", default="", help="ego vehicle in the topics (default: the interface's usual one)")
    parser.add_argument("--camera", default="front", help="whose labels lockstep waits for (default: front)")
    parser.add_argument("--loop", action="store_true", help="repeat the drive, in time that goes on, until Ctrl-C")
    parser.add_argument("--lockstep", action="store_true", help="wait for each frame's label before the next")
    parser.add_argument("--coded", action="store_true", help="paint the trainId as red, for engines that read it off")
    parser.add_argument("--wait", type=float, default=30.0, help="seconds to wait for listeners in lockstep")
    parser.add_argument("--timeout", type=float, default=30.0, help="seconds to wait for a label in lockstep")
    return parser
