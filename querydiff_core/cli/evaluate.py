"""The verb `querydiff evaluate`: score a model on a folder of labelled images."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from querydiff_core.errors import QueryDiffError
from querydiff_core.whole_file import whole_file

if TYPE_CHECKING:
    from querydiff_core.data.labelled_folder import LabelledFolder
    from querydiff_core.deployment.segmenter import Segmenter
    from querydiff_core.evaluation.confusion_matrix import ConfusionMatrix

SUMMARY = "score a model on a folder of labelled images"


def main(argv: Sequence[str]) -> int:
    """Score, print the table and write the result; 0 on success."""
    arguments = _parser().parse_args(argv)
    # Imported late: `querydiff --help` must stay fast.
    from querydiff_core.data.labelled_folder import LabelledFolder  # noqa: PLC0415
    from querydiff_core.deployment.segmenter import Segmenter  # noqa: PLC0415
    from querydiff_core.evaluation.score_table import print_scores  # noqa: PLC0415
    from querydiff_core.label_space import label_mapping  # noqa: PLC0415

    folder = LabelledFolder(arguments.images, arguments.labels, label_mapping(arguments.mapping))
    if not folder.labelled:
        raise QueryDiffError(f"{folder.root} has no labels to score against: name their folder with --labels.")
    model = None if arguments.model == "default" else arguments.model
    segmenter = Segmenter.load(model, device=arguments.device, window=arguments.window)
    matrix = score(segmenter, folder)
    print_scores({arguments.model: matrix})
    if arguments.output:
        with whole_file(arguments.output) as temporary:
            temporary.write_text(json.dumps(_result(arguments, segmenter, len(folder), matrix), indent=2) + "\n")
    return 0


def score(segmenter: Segmenter, folder: LabelledFolder) -> ConfusionMatrix:
    """Segment every image of `folder` and count its pixels against the labels, showing progress on a terminal."""
    from rich.progress import track  # noqa: PLC0415

    from querydiff_core.evaluation.confusion_matrix import ConfusionMatrix  # noqa: PLC0415

    matrix = ConfusionMatrix(folder.mapping)
    for image, labels, _ in track(
        folder, "evaluating", total=len(folder), transient=True, disable=not sys.stdout.isatty()
    ):
        assert labels is not None
        matrix.update(segmenter(image).labels, labels)
    return matrix


def _result(
    arguments: argparse.Namespace, segmenter: Segmenter, images: int, matrix: ConfusionMatrix
) -> dict[str, Any]:
    return {
        "model": arguments.model,
        "variant": segmenter.metadata.variant,
        "engine": segmenter.engine_name,
        "device": segmenter.device,
        "mapping": arguments.mapping,
        "images": images,
        "miou": matrix.miou,
        "pixel_accuracy": matrix.pixel_accuracy,
        "iou_by_class": matrix.iou_by_class,
    }


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="querydiff evaluate",
        description="Label every image of a folder and print the IoU of each class and their mean.",
        epilog="example: querydiff evaluate default --images camvid/val/images --labels camvid/val/labels "
        "--mapping camvid --output result.json",
    )
    parser.add_argument("model", nargs="?", default="default", help="an .onnx or .safetensors file; default: shipped")
    parser.add_argument("--images", type=Path, required=True, help="folder of images, or of images/ and labels/")
    parser.add_argument("--labels", type=Path, help="folder of label images, paired by name")
    parser.add_argument("--mapping", default="train_ids", help="what the label values mean: a name or a YAML file")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N")
    parser.add_argument("--window", type=int, help="side in pixels of a window slid over the image")
    parser.add_argument("--output", type=Path, help="write the scores here as JSON")
    return parser
