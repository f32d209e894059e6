"""The demo: a bag evaluated through the real node in lockstep, and shown as a video and a contact sheet."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.evaluation.result_table import print_iou
from querydiff_core.inference.engine import EngineOptions
from querydiff_core.label_space import cityscapes
from querydiff_core.live_view.live_view import LiveView
from querydiff_core.street_scenes import render_drive
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.image_files import write_image
from querydiff_core.utils.terminal import console, tracked
from querydiff_ros.bag_evaluation.bag_frames import BagFrames, LabelledFrames
from querydiff_ros.bag_evaluation.bag_options import BagOptions, OnlineOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource
from querydiff_ros.bag_evaluation.drive_scorer import UNKNOWN, DriveScorer
from querydiff_ros.bag_evaluation.measurements import OnlineStatistics
from querydiff_ros.bag_evaluation.node_session import labelled_by_node
from querydiff_ros.bags.bag_recorder import DriveRecorder
from querydiff_ros.demo.contact_sheet import contact_sheet
from querydiff_ros.demo.live_frames import LiveFrames
from querydiff_ros.demo.overlay_video import OverlayVideo

RATE = 10.0
"""Frames a second of the rendered drive and of the video."""


@dataclass(frozen=True)
class DemoOptions:
    """What to show.

    `output`: folder for everything made. `frames`, `size` (height, width), `seed`: of the generated drive. `drive`: a
    recorded one instead. `engine`: which model the node runs, and how. `score`: name or file of the label mapping
    whose score classes are judged.
    """

    output: Path
    frames: int = 150
    size: tuple[int, int] = (256, 512)
    seed: int = 1
    drive: Path | None = None
    engine: EngineOptions = field(default_factory=EngineOptions)
    score: str = "train_ids"


def run_demo(options: DemoOptions, view: LiveView | None = None) -> dict[str, Any]:
    """Label a drive with the real node and write video, contact sheet and metrics; return the metrics.

    Each frame is shown on `view` as soon as it is labelled.

    Raises:
        QueryDiffError: if no label arrives, or the folder cannot be written.
    """
    played = OnlineOptions(rate=0.0, lockstep=True)
    evaluation = BagOptions(options.engine, score=options.score, pictures=0, online=played)
    scorer = DriveScorer("drive", evaluation.score_mapping, cityscapes(), evaluation.pictures)
    with explained(f"Cannot write to {options.output}: {{reason}}.", OSError):
        options.output.mkdir(parents=True, exist_ok=True)
    frames = BagFrames(BagSource(options.drive or _generate(options), "drive", condition=""), evaluation)
    for sentence in filter(None, [frames.bag.damage, *frames.notes]):
        console(stderr=True).print(f"warning: {sentence}")
    _say(f"Replaying {frames.bag.path} into segment_node.")
    live = LiveFrames(view, frames, options.engine.file.name) if view else None
    log = options.output / "node.log"
    with labelled_by_node(frames, evaluation, log, live) as (drive, statistics, diagnostics):
        if live:
            live.show()
        _say("Scoring and drawing.")
        for frame in tracked(drive, "scoring", statistics.frames_labelled):
            scorer.update(frame)
        metrics = _metrics(statistics, diagnostics, scorer)
        _show(options, drive, scorer, metrics)
    _report(options, metrics, scorer)
    return metrics


def _generate(options: DemoOptions) -> Path:
    """Render a drive through every condition into a rosbag2, in place of the one that an earlier demo left there."""
    bag = options.output / "drive"
    _say(f"Rendering a drive of {options.frames} frames.")
    if (bag / "metadata.yaml").is_file():
        shutil.rmtree(bag)
    elif bag.exists():
        raise QueryDiffError(f"{bag} is in the way of the demo's bag: move it, or choose another --output.")
    with DriveRecorder(bag) as recorder:
        drive = render_drive(options.seed, options.frames, size=options.size, rate=RATE)
        recorder.write_generated(drive, options.frames)
    return bag


def _metrics(statistics: OnlineStatistics, diagnostics: Mapping[str, str], scorer: DriveScorer) -> dict[str, Any]:
    """Return what `metrics.json` holds; scores are None for a drive without ground truth.

    Latency is the node's own: milliseconds from a frame's arrival in the node to the publication of its label.
    """
    total, latency = (
        scorer.conditions.total,
        {p: diagnostics.get(f"latency_from_arrival_{p}_ms") for p in ("p50", "p99")},
    )
    return {
        "frames_published": statistics.frames_published,
        "frames_labelled": statistics.frames_labelled,
        "frames_dropped": statistics.frames_published - statistics.frames_labelled,
        "miou": total.miou,
        "miou_by_condition": {_name(name): scores.miou for name, scores in scorer.conditions.by_condition.items()},
        "iou_by_class": total.iou_by_class,
        "pixel_accuracy": total.pixel_accuracy,
        "latency_ms": {p: float(text) if text else None for p, text in latency.items()},
        "latency_source": "the node's /diagnostics: arrival of a frame to publication of its label",
        "engine": diagnostics.get("engine"),
        "variant": diagnostics.get("variant"),
        "device": diagnostics.get("device"),
    }


def _show(options: DemoOptions, drive: LabelledFrames, scorer: DriveScorer, metrics: dict[str, Any]) -> None:
    with atomic_file(options.output / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    write_image(options.output / "contact_sheet.png", contact_sheet(drive, scorer, cityscapes()))
    title = f"QueryDiff {metrics['variant']} on {metrics['engine']}"
    OverlayVideo(drive, scorer, cityscapes(), title).write(options.output / "overlay.mp4", RATE)


def _report(options: DemoOptions, metrics: dict[str, Any], scorer: DriveScorer) -> None:
    columns = {_name(name): scores for name, scores in scorer.conditions.by_condition.items()}
    if columns:
        whole = {"all": scorer.conditions.total} if len(columns) > 1 else {}
        print_iou({**columns, **whole}, title="IoU, %")
    latency = metrics["latency_ms"]
    print(
        f"{metrics['frames_labelled']} of {metrics['frames_published']} frames labelled by {metrics['variant']} on "
        f"{metrics['engine']} ({metrics['device']}), latency p50 {latency['p50']} ms, p99 {latency['p99']} ms."
    )
    for name in ("overlay.mp4", "contact_sheet.png", "metrics.json"):
        print(f"  {options.output / name}")


def _name(condition: str) -> str:
    return "drive" if condition == UNKNOWN else condition


def _say(sentence: str) -> None:
    print(sentence, flush=True)  # the steps take their time, and stdout may be a pipe
