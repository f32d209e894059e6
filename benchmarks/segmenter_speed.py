"""The student `small` as ONNX against SegFormer-B0 exported the same way and against its own checkpoint run eagerly.

All in one run, in turn, at two network sizes: python benchmarks/segmenter_speed.py [--repeats 30] [--threads N]
SegFormer-B0 has random weights (nothing is downloaded) and the same graph around it: resizing and normalisation before,
soft-max, enlargement, arg-max and confidence after.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from torch import Tensor, nn
from transformers import SegformerConfig, SegformerForSemanticSegmentation

from querydiff_core.data.street_scenes import CONDITIONS, render_scene
from querydiff_core.deployment.export_engine import export_engine
from querydiff_core.deployment.export_options import ExportOptions
from querydiff_core.deployment.metadata import ModelMetadata
from querydiff_core.deployment.onnx_export import write_onnx
from querydiff_core.deployment.segmentation_graph import SegmentationGraph
from querydiff_core.deployment.segmenter import Segmenter, default_model
from querydiff_core.models.backbone import IMAGENET_MEAN, IMAGENET_STD

CHECKPOINT = default_model().with_suffix(".safetensors")
CASES = [((256, 512), (256, 512)), ((512, 1024), (512, 1024)), ((256, 512), (1080, 1920))]
"""Sizes of network and camera."""
COLUMNS = (
    "network",
    "camera",
    "small, ONNX (ms)",
    "frames/s",
    "SegFormer-B0, ONNX (ms)",
    "small, eager (ms)",
    "small / SegFormer-B0",
    "eager / small",
    "labels equal",
)
PAUSE = 0.02
"""Seconds between calls, in which the threads of the one before stop waiting for more work."""


class SegformerGraph(SegmentationGraph):
    """SegFormer-B0 between the same pre- and post-processing."""

    def scores(self, images: Tensor) -> Tensor:
        return self.model(images).logits.softmax(1)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=30)
    parser.add_argument("--threads", type=int, help="default: all cores")
    arguments = parser.parse_args()
    print(f"| {' | '.join(COLUMNS)} |\n|{'---|' * len(COLUMNS)}")
    with TemporaryDirectory() as folder:
        for network, camera in CASES:
            files = [export(Path(folder), network), export_segformer(Path(folder), network)]
            engines = [Segmenter.load(file, threads=arguments.threads) for file in files]
            engines.append(Segmenter.load(CHECKPOINT, device="cpu", threads=arguments.threads, size=network))
            small, segformer, eager = measure(engines, camera, arguments.repeats)
            ratios = f"{np.median(small / segformer):.2f} | {np.median(eager / small):.2f}"
            times = [1000 * float(np.median(taken)) for taken in (small, segformer, eager)]
            print(
                f"| {network[0]} x {network[1]} | {camera[0]} x {camera[1]} | {times[0]:.0f} | {1000 / times[0]:.1f} | "
                f"{times[1]:.0f} | {times[2]:.0f} | {ratios} | {equal_labels(engines[0], engines[2], camera):.3%} |",
                flush=True,
            )


def export(folder: Path, network: tuple[int, int]) -> Path:
    """Return `small` as ONNX for inputs of size `network`."""
    file = folder / f"small_{network[0]}.onnx"
    if not file.exists():
        export_engine(CHECKPOINT, file, ExportOptions(size=network))
    return file


def export_segformer(folder: Path, network: tuple[int, int]) -> Path:
    """Return SegFormer-B0 as ONNX for inputs of size `network`."""
    file = folder / f"segformer_{network[0]}.onnx"
    if not file.exists():
        # The configuration's defaults are B0's.
        model: nn.Module = SegformerForSemanticSegmentation(SegformerConfig(num_labels=19)).eval()
        model.mean, model.std = IMAGENET_MEAN, IMAGENET_STD
        metadata = ModelMetadata("segformer-b0", network, IMAGENET_MEAN, IMAGENET_STD)
        write_onnx(SegformerGraph(model, network), replace(metadata, recipe={"weights": "random"}), file)
    return file


def measure(engines: list[Segmenter], camera: tuple[int, int], repeats: int) -> list[np.ndarray]:
    """Return the seconds of `repeats` calls of each engine, taken in turn."""
    image = np.random.default_rng(0).integers(0, 256, (*camera, 3), np.uint8)
    times: list[list[float]] = [[] for _ in engines]
    for round_ in range(repeats + 2):
        for engine, taken in zip(engines, times, strict=True):
            time.sleep(PAUSE)
            start = time.perf_counter()
            engine(image)
            if round_ >= 2:  # the first ones warm up
                taken.append(time.perf_counter() - start)
    return [np.array(taken) for taken in times]


def equal_labels(engine: Segmenter, checkpoint: Segmenter, camera: tuple[int, int]) -> float:
    """Return the share of equal labels on a street scene of each condition."""
    scenes = [render_scene(seed, camera, condition).image for seed, condition in enumerate(CONDITIONS)]
    return float(np.mean([(engine(scene).labels == checkpoint(scene).labels).mean() for scene in scenes]))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
