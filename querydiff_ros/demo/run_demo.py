"""The demo from drive to pictures."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.console import Console

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result_table import print_iou
from querydiff_core.label_space import cityscapes, label_mapping
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.image_files import write_image
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.demo.contact_sheet import contact_sheet
from querydiff_ros.demo.drive_scores import DriveScores, drive_metrics
from querydiff_ros.demo.labelled_drive import LabelledDrive
from querydiff_ros.demo.overlay_video import OverlayVideo

VIDEO_RATE = 10.0


@dataclass(frozen=True)
class DemoOptions:
    """What to show.

    `output`: folder for everything made. `frames`, `size` (height, width), `seed`: of the generated drive. `drive`: a
    recorded one instead. `engine`: the node's, None for the shipped one. `score`: name or file of the label mapping
    whose score classes are judged.
    """

    output: Path
    frames: int = 150
    size: tuple[int, int] = (256, 512)
    seed: int = 1
    drive: Path | None = None
    engine: Path | None = None
    score: str = "train_ids"


def run_demo(options: DemoOptions) -> dict[str, Any]:
    """Label a drive with the real node and write video, contact sheet and metrics; return the metrics.

    Raises:
        QueryDiffError: if no label arrives, or the folder cannot be written.
    """
    mapping = label_mapping(options.score)
    try:
        options.output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise QueryDiffError(f"Cannot write to {options.output}: {error.strerror}.") from error
    bag = BagReader(options.drive or _generate(options))
    if bag.damage:
        Console(stderr=True).print(f"warning: {bag.damage}")
    _say(f"Replaying {bag.path} into segment_node.")
    drive = LabelledDrive(bag, options.engine, options.output / "node.log")
    _say("Scoring and drawing.")
    scores = DriveScores(drive, mapping)
    metrics = drive_metrics(drive, scores)
    with atomic_file(options.output / "metrics.json") as temporary:
        temporary.write_text(json.dumps(metrics, indent=2) + "\n")
    write_image(options.output / "contact_sheet.png", contact_sheet(drive, scores, cityscapes()))
    OverlayVideo(drive, scores, cityscapes()).write(options.output / "overlay.mp4", VIDEO_RATE)
    _report(options, metrics, scores)
    return metrics


def _generate(options: DemoOptions) -> Path:
    from querydiff_ros.demo.generated_drive import record_generated_drive

    _say(f"Rendering a drive of {options.frames} frames.")
    bag = options.output / "drive"
    record_generated_drive(bag, options.frames, options.size, options.seed)
    return bag


def _report(options: DemoOptions, metrics: dict[str, Any], scores: DriveScores) -> None:
    conditions = scores.scores.by_condition
    if conditions:
        whole = {"all": scores.scores.total} if len(conditions) > 1 else {}
        print_iou({**conditions, **whole}, title="IoU, %")
    latency = metrics["latency_ms"]
    print(
        f"{metrics['frames_labelled']} of {metrics['frames_published']} frames labelled by {metrics['variant']} on "
        f"{metrics['engine']} ({metrics['device']}), latency p50 {latency['p50']} ms, p99 {latency['p99']} ms."
    )
    for name in ("overlay.mp4", "contact_sheet.png", "metrics.json"):
        print(f"  {options.output / name}")


def _say(sentence: str) -> None:
    print(sentence, flush=True)  # the steps take their time, and stdout may be a pipe
