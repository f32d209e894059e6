"""Evaluate one bag: its Result, and the files that lie beside it."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import cv2

from querydiff_core.evaluation.provenance import model_facts, versions
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.terminal import tracked
from querydiff_ros.bag_evaluation.bag_frames import BagFrames, LabelledFrames
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.drive_scorer import DriveScorer
from querydiff_ros.bag_evaluation.measurements import BagEntry, OnlineStatistics, scores_csv
from querydiff_ros.bag_evaluation.over_time_plot import over_time_plot
from querydiff_ros.bag_evaluation.worst_frames import WorstFrame


@dataclass(frozen=True)
class BagArtefacts:
    """The files beside a bag's Result.

    `plot` (PNG) and `table` (CSV): what was measured over time, empty if no frame was judged. `worst`: the worst frames
    first. `start_ns`: the first frame's stamp.
    """

    plot: bytes = b""
    table: str = ""
    worst: list[WorstFrame] = field(default_factory=list)
    start_ns: int = 0

    @classmethod
    def of(cls, name: str, scorer: DriveScorer) -> BagArtefacts:
        """Draw what `scorer` has measured of the bag `name`."""
        if not scorer.frames:
            return cls()
        _, png = cv2.imencode(".png", over_time_plot(name, scorer.frames)[..., ::-1])
        return cls(png.tobytes(), scores_csv(scorer.frames), scorer.worst.worst_first, scorer.frames[0].stamp_ns)

    def save(self, folder: Path, name: str) -> None:
        """Write the files, whole or not at all, in place of those of an evaluation before."""
        for stale in folder.glob(f"{glob.escape(name)}_worst_[0-9][0-9]_at_*s.jpg"):
            stale.unlink()
        files = {"over_time.png": self.plot, "over_time.csv": self.table.encode()} if self.table else {}
        for rank, frame in enumerate(self.worst, 1):
            files[f"worst_{rank:02d}_at_{(frame.stamp_ns - self.start_ns) / 1e9:.1f}s.jpg"] = frame.jpeg
        for file, data in files.items():
            with atomic_file(folder / f"{name}_{file}") as temporary:
                temporary.write_bytes(data)


@dataclass(frozen=True)
class BagOutcome:
    """What one bag gave: `result`, the files beside it, and `warnings`, a sentence each."""

    result: Result
    artefacts: BagArtefacts
    warnings: list[str]


def evaluate_bag(source: BagSource, options: BagOptions, segmenter: Segmenter | None = None) -> BagOutcome:
    """Predict every frame of a bag and judge the predictions; memory does not grow with the length of the bag.

    Args:
        source: the bag.
        options: how.
        segmenter: the model, if it is open already.

    Raises:
        QueryDiffError: if the bag, the model or an option cannot be used.
    """
    # Before anything is read: a bag that is still being recorded has another fingerprint later, and mappings change.
    fingerprint, settings = source.fingerprint, options.settings
    frames = BagFrames(source, options)
    segmenter = segmenter or Segmenter.open(options.engine)
    facts, used = model_facts(options.engine, segmenter), versions(segmenter.engine_name)
    scorer = DriveScorer(source.name, options.score_mapping, segmenter.label_space, options.pictures)
    with _labelled(frames, options, segmenter) as (labelled, online), _one_opencv_thread():
        for frame in tracked(labelled, f"evaluating {source.name}", frames.bag.topics[frames.topics.image].count):
            scorer.update(frame)
    entry = BagEntry(
        bag=source.name,
        fingerprint=fingerprint,
        image=frames.topics.image,
        ground_truth=frames.topics.ground_truth,
        damage=frames.bag.damage,
        frames=frames.frames,
        frames_rejected=frames.rejected,
        frames_with_ground_truth=frames.matched,
        frames_labelled=len(scorer.frames),
        labels_sha256=scorer.labels_sha256,
        conditions=scorer.summaries(),
        online=online,
    )
    result = Result(facts, [entry.to_json()], settings, used, scorer.conditions.domains)
    return BagOutcome(result, BagArtefacts.of(source.name, scorer), list(_warnings(frames, entry)))


@contextmanager
def _labelled(
    frames: BagFrames, options: BagOptions, segmenter: Segmenter
) -> Iterator[tuple[LabelledFrames, OnlineStatistics | None]]:
    """Yield the frames with their predictions, and what was measured of the node where one made them."""
    if options.online is None:
        yield LabelledFrames(frames, lambda frame: segmenter(frame.image)), None
        return
    # Imported late: offline evaluation starts no ROS.
    from querydiff_ros.bag_evaluation.node_session import labelled_by_node

    with labelled_by_node(frames, options) as (labelled, online, _):
        yield labelled, online


@contextmanager
def _one_opencv_thread() -> Iterator[None]:
    """Let optical flow, whose result depends on the number of threads, be the same on every machine."""
    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        yield
    finally:
        cv2.setNumThreads(threads)


def _warnings(frames_of_bag: BagFrames, entry: BagEntry) -> Iterator[str]:
    path = frames_of_bag.bag.path
    if entry.damage:
        yield entry.damage
    yield from frames_of_bag.notes
    if entry.frames_rejected:
        frames = entry.frames + entry.frames_rejected
        reasons = "; ".join(frames_of_bag.rejections)
        yield f"{path}: {entry.frames_rejected} of {frames} frames cannot be used: {reasons}."
    if lost := frames_of_bag.unreadable:
        counts = ", ".join(f"{count} of {topic}" for topic, count in sorted(lost.items()))
        yield f"{path}: passed over, as they cannot be read, are {counts}."
    if entry.online and entry.online.too_slow:
        yield (
            f"{path} was played at {entry.online.rate_published_hz:.1f} Hz instead of "
            f"{entry.online.rate_wanted_hz:.1f} Hz: this machine is too busy, and latency and drop rate are those of a "
            "slower drive; give a smaller --rate."
        )
    if not entry.frames_labelled:
        yield f"{path}: no frame could be judged."
