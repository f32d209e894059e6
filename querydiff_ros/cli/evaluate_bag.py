"""The subcommand `querydiff evaluate-bag`: judge a model on recorded drives."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from querydiff_core.cli.argument_types import count, not_negative
from querydiff_core.cli.engine_arguments import add_engine_arguments, engine_options
from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import check_writable

if TYPE_CHECKING:
    from querydiff_ros.bag_evaluation.bag_options import BagOptions, OnlineOptions
    from querydiff_ros.bag_evaluation.bag_results import BagResults
    from querydiff_ros.bag_evaluation.bag_sources import BagSource

SUMMARY = "judge a model on bags: accuracy by weather and over time, latency, worst frames"


def main(argv: Sequence[str]) -> int:
    """Evaluate bags, print the table and write the Results; 0 on success, 1 if no frame was judged."""
    arguments = parser().parse_args(argv)
    check_writable(arguments.output)
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_ros.common.ros_session import start_apart

    start_apart()
    from querydiff_ros.bag_evaluation.bag_results import BagResults, print_report
    from querydiff_ros.bag_evaluation.bag_sources import find_bags

    options, sources = _options(arguments), find_bags(arguments.bags)
    results = BagResults(arguments.output, sources, options, _say)
    missing = sources if arguments.again else results.missing()
    if len(missing) < len(sources):
        _say(f"{len(sources) - len(missing)} of {len(sources)} bags are as evaluated before; --again repeats them.")
    _evaluate(results, missing, options, arguments.ray)
    merged = results.merge()
    print_report(merged)
    print(f"{arguments.output}; each bag's result, curves and pictures are in {results.folder}.")
    results.complain()
    return 0 if any(entry["frames_labelled"] for entry in merged.data) else 1


def _evaluate(results: BagResults, missing: Sequence[BagSource], options: BagOptions, ray: str | None) -> None:
    from querydiff_ros.bag_evaluation.bag_results import evaluate_here

    if ray is None:
        for source, outcome in evaluate_here(missing, options):
            results.take(source, outcome)
        return
    from querydiff_ros.bag_evaluation.bags_on_ray import evaluate_on_ray

    for number, (source, outcome) in enumerate(evaluate_on_ray(missing, options, ray), 1):
        results.take(source, outcome)
        _say(f"{number} of {len(missing)} bags done: {source.name}.")


def _say(sentence: str) -> None:
    print(sentence, file=sys.stderr, flush=True)


def _options(arguments: argparse.Namespace) -> BagOptions:
    from querydiff_ros.bag_evaluation.bag_options import BagOptions

    same = ("image", "ground_truth", "mapping", "score", "tolerance", "pictures")
    own = {name: getattr(arguments, name) for name in same}
    return BagOptions(engine_options(arguments), online=_online(arguments), **own)


def _online(arguments: argparse.Namespace) -> OnlineOptions | None:
    from querydiff_ros.bag_evaluation.bag_options import OnlineOptions

    if arguments.online:
        unhurried = 0.0 if arguments.lockstep else 1.0
        return OnlineOptions(unhurried if arguments.rate is None else arguments.rate, arguments.lockstep)
    if arguments.lockstep or arguments.rate is not None:
        raise QueryDiffError("--rate and --lockstep say how the real node is played to: give --online too.")
    return None


def parser() -> argparse.ArgumentParser:
    """Return the parser of its arguments."""
    parser = argparse.ArgumentParser(
        prog="querydiff evaluate-bag",
        description="Predict the frames of bags and judge the predictions: against a ground-truth topic by condition "
        "and over time, or, without one, by their steadiness and confidence. Offline the engine gets frame after "
        "frame; with --online the real node gets them over DDS, and latency and dropped frames are measured too.",
        epilog="example: querydiff evaluate-bag drives/ --output build/drives.json",
    )
    parser.add_argument(
        "bags", nargs="+", type=Path, metavar="BAG", help="a bag, one of its files, or a folder of bags"
    )
    parser.add_argument("--output", type=Path, required=True, help="the Result file to write; pictures lie beside it")
    parser.add_argument("--again", action="store_true", help="evaluate also the bags that have a Result already")
    _add_topics(parser.add_argument_group("what to judge"))
    _add_online(parser.add_argument_group("how to run"))
    add_engine_arguments(parser, size=False)
    return parser


def _add_topics(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--image", metavar="TOPIC", help="the camera (default: a <camera>/image[/compressed] in colour)")
    group.add_argument("--ground-truth", metavar="TOPIC", help="its topic (default: <camera>/label_ground_truth)")
    group.add_argument("--mapping", default="train_ids", help="what the label values mean: a name or a YAML file")
    group.add_argument("--score", metavar="MAPPING", help="judge the classes of this label mapping, such as camvid")
    group.add_argument("--tolerance", type=not_negative, default=0.02, help="seconds between stamps (default: 0.02)")
    group.add_argument("--pictures", type=count, default=6, help="worst frames to save of a bag (default: 6)")


def _add_online(group: argparse._ArgumentGroup) -> None:
    group.add_argument("--online", action="store_true", help="play the bag into the real node, a process of its own")
    group.add_argument("--rate", type=not_negative, help="times the recorded speed; 0: no pauses (default: 1)")
    group.add_argument("--lockstep", action="store_true", help="wait for each frame's label (--rate is 0 by default)")
    group.add_argument(
        "--ray",
        nargs="?",
        const="local",
        metavar="ADDRESS",
        help="spread the bags over Ray: on this machine, or on the cluster at ADDRESS (auto, ray://host:10001)",
    )
