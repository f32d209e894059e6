"""Evaluate one bag: its Result, and the pictures that go with it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np

from querydiff_core.evaluation.provenance import model_facts, versions
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.segmenter import Segmentation, Segmenter
from querydiff_core.label_space import label_mapping
from querydiff_ros.bag_evaluation.bag_frames import BagFrames
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.drive_scorer import DriveScorer
from querydiff_ros.bag_evaluation.drive_topics import DriveTopics
from querydiff_ros.bag_evaluation.frame_scores import mean_share, scores_csv
from querydiff_ros.bag_evaluation.over_time_plot import over_time_plot
from querydiff_ros.bags.bag_reader import BagReader

Labeller = Callable[[int, np.ndarray], Segmentation | None]
"""Answer a frame, given its stamp and its uint8 RGB image `(H, W, 3)`; None if it got no label."""
Progress = Callable[[int], None]
SLOWEST = 0.9
"""Share of the wanted rate that a drive must be played at for its latency to be taken for true."""


@dataclass(frozen=True)
class BagOutcome:
    """What one bag gave: `result`; `files`, bytes by the ending of their names; `warnings`, a sentence each."""

    result: Result
    files: dict[str, bytes] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


def evaluate_bag(
    source: BagSource, options: BagOptions, progress: Progress = lambda frames: None, segmenter: Segmenter | None = None
) -> BagOutcome:
    """Label every frame of a bag and judge the labels; memory does not grow with the length of the bag.

    Args:
        source: the bag.
        options: how.
        progress: called with the number of frames so far.
        segmenter: the model, if it is open already.

    Raises:
        QueryDiffError: if the bag, the model or an option cannot be used.
    """
    bag = BagReader(source.path)
    topics = DriveTopics.choose(bag, options.image, options.ground_truth)
    frames = BagFrames(bag, topics, label_mapping(options.mapping), options.tolerance, source.condition)
    segmenter = segmenter or options.load_segmenter()
    judge = DriveScorer(source.name, options.score_mapping, segmenter.label_space, options.pictures)
    with _labeller(bag, topics, options, segmenter) as (labeller, statistics), _one_opencv_thread():
        for count, frame in enumerate(frames, 1):
            answer = labeller(frame.stamp_ns, frame.image)
            if answer is not None:
                judge.update(frame, answer.labels, answer.confidence)
            progress(count)
    entry = _data(source, bag, topics, frames, judge) | statistics
    model = model_facts(options.model, segmenter)
    result = Result(model, [entry], options.settings, versions(segmenter), judge.domains)
    return BagOutcome(result, _files(source, judge), _warnings(bag, frames, judge, statistics.get("online")))


@contextmanager
def _labeller(
    bag: BagReader, topics: DriveTopics, options: BagOptions, segmenter: Segmenter
) -> Iterator[tuple[Labeller, dict[str, Any]]]:
    """Yield what answers frames, and what was measured of it."""
    if options.online is None:
        yield lambda stamp_ns, image: segmenter(image), {}
        return
    # Imported late: offline evaluation starts no ROS.
    from querydiff_ros.bag_evaluation.node_session import NodeSession
    from querydiff_ros.bag_evaluation.output_spool import OutputSpool

    with TemporaryDirectory() as folder, OutputSpool(Path(folder) / "answers") as spool:
        log = Path(folder) / "node.log"
        answers = NodeSession(bag, topics, options.node_parameters, options.online, spool, log)
        yield answers, {"online": answers.statistics}


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Let optical flow, whose result depends on the number of threads, be the same on every machine."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _data(
    source: BagSource, bag: BagReader, topics: DriveTopics, frames: BagFrames, judge: DriveScorer
) -> dict[str, Any]:
    scores = judge.scores
    conditions = dict.fromkeys(score.condition for score in scores)
    by_condition = {name: [score for score in scores if score.condition == name] for name in conditions}
    return {
        "bag": source.name,
        "fingerprint": source.fingerprint,
        "image": topics.image,
        "ground_truth": topics.ground_truth,
        "damage": bag.damage,
        "frames": frames.frames,
        "frames_rejected": frames.rejected,
        "frames_with_ground_truth": frames.matched,
        "frames_labelled": len(scores),
        "labels_sha256": judge.labels_sha256,
        "conditions": {
            name: {
                "frames": len(some),
                "confidence": mean_share(score.confidence for score in some),
                "temporal_consistency": mean_share(score.consistency for score in some),
            }
            for name, some in by_condition.items()
        },
    }


def _files(source: BagSource, judge: DriveScorer) -> dict[str, bytes]:
    if not judge.scores:
        return {}
    _, png = cv2.imencode(".png", over_time_plot(source.name, judge.scores)[..., ::-1])
    files = {"_over_time.png": png.tobytes(), "_over_time.csv": scores_csv(judge.scores).encode()}
    start = judge.scores[0].stamp_ns
    for rank, worth in enumerate(judge.worth.worst_first, 1):
        files[f"_look_{rank:02d}_at_{(worth.stamp_ns - start) / 1e9:.1f}s.jpg"] = worth.jpeg
    return files


def _warnings(bag: BagReader, frames: BagFrames, judge: DriveScorer, online: dict[str, Any] | None) -> list[str]:
    found = [bag.damage] if bag.damage else []
    if frames.rejected:
        found.append(
            f"{bag.path}: {frames.rejected} of {frames.frames + frames.rejected} frames cannot be used, the first "
            f"{frames.rejection}."
        )
    if online and _played_too_slowly(online):
        found.append(
            f"{bag.path} was played at {online['rate_published_hz']:.1f} Hz instead of "
            f"{online['rate_wanted_hz']:.1f} Hz: this machine is too busy, and latency and drop rate are those of a "
            "slower drive; give a smaller --rate."
        )
    if not judge.scores:
        found.append(f"{bag.path}: no frame could be judged.")
    return found


def _played_too_slowly(online: dict[str, Any]) -> bool:
    wanted, held = online["rate_wanted_hz"], online["rate_published_hz"]
    return bool(wanted and held and held < SLOWEST * wanted)
