"""The default, `small-resnet18d` and SegFormer-B0 as ONNX in fp32 and bf16, and the default in int8 and run eagerly.

All in one run, in turn, at two network sizes: python benchmarks/segmenter_speed.py [--repeats 30] [--threads N]
fp32 and int8 are ONNX Runtime's, bf16 OpenVINO's. The other two have random weights, and the same graph is around
them: resizing and normalisation before, soft-max, enlargement, arg-max and confidence after. Ratios are medians of
those of calls made next to each other.
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

from querydiff_core.export.export_engine import export_engine
from querydiff_core.export.export_options import ExportOptions
from querydiff_core.export.onnx_export import write_onnx
from querydiff_core.export.quantisation import FEWEST_IMAGES
from querydiff_core.inference.build_target import EngineBuild, Precision
from querydiff_core.inference.engine import default_checkpoint
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.models.backbone import IMAGENET_MEAN, IMAGENET_STD
from querydiff_core.models.build import build_model
from querydiff_core.street_scenes import CONDITIONS, render_scene
from querydiff_core.utils.image_files import write_image

CHECKPOINT = default_checkpoint()
CASES = [((256, 512), (256, 512)), ((512, 1024), (512, 1024)), ((256, 512), (1080, 1920))]
"""Sizes of network and camera."""
COLUMNS = ("network", "camera", "engine", "ms", "frames/s", "times the eager speed", "labels equal to the checkpoint's")
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
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
            files = {f"small, {p}": export(Path(folder), network, p) for p in (*PRECISIONS, "int8")}
            files |= {f"small-resnet18d, {p}": export_resnet(Path(folder), network, p) for p in PRECISIONS}
            files |= {f"SegFormer-B0, {p}": export_segformer(Path(folder), network, p) for p in PRECISIONS}
            engines = {name: Segmenter.load(file, threads=arguments.threads) for name, file in files.items()}
            engines["small, eager"] = eager = Segmenter.load(
                CHECKPOINT, device="cpu", threads=arguments.threads, size=network
            )
            times = measure(engines, camera, arguments.repeats)
            sizes = f"{network[0]} x {network[1]} | {camera[0]} x {camera[1]}"
            for name, taken in times.items():
                equal = f"{prediction_parity(engines[name], eager, camera):.3%}" if name.startswith("small,") else ""
                typical = 1000 * float(np.median(taken))
                ratio = np.median(times["small, eager"] / taken)
                print(
                    f"| {sizes} | {name} | {typical:.0f} | {1000 / typical:.1f} | {ratio:.2f} | {equal} |", flush=True
                )
            ratio = np.median(times["small, int8"] / times["small, fp32"])
            print(f"| {sizes} | small's time in int8 in that in fp32 | {ratio:.2f} | | | |", flush=True)
            for student in ("small", "small-resnet18d"):
                for p in PRECISIONS:
                    ratio = np.median(times[f"{student}, {p}"] / times[f"SegFormer-B0, {p}"])
                    print(f"| {sizes} | {student}'s time in SegFormer-B0's, {p} | {ratio:.2f} | | | |", flush=True)


def export(folder: Path, network: tuple[int, int], precision: Precision) -> Path:
    """Return the default as ONNX for inputs of size `network`."""
    file = folder / f"small_{network[0]}_{precision}.onnx"
    if not file.exists():
        calibrate = street_scenes(folder / "scenes") if precision == "int8" else None
        export_engine(CHECKPOINT, file, ExportOptions(size=network, precision=precision, calibrate=calibrate))
    return file


def street_scenes(folder: Path) -> Path:
    """Return `folder` with as many street scenes as calibration needs, of all conditions in turn."""
    for seed in range(1000, 1000 + FEWEST_IMAGES):
        scene = render_scene(seed, (512, 1024), CONDITIONS[seed % len(CONDITIONS)])
        write_image(folder / f"{seed}.png", scene.image)
    return folder


def export_segformer(folder: Path, network: tuple[int, int], precision: Precision) -> Path:
    """Return SegFormer-B0 as ONNX for inputs of size `network`; the configuration's defaults are B0's."""
    model: nn.Module = SegformerForSemanticSegmentation(SegformerConfig(num_labels=19)).eval()
    model.mean, model.std = IMAGENET_MEAN, IMAGENET_STD
    return export_untrained(SegformerGraph(model, network), "segformer-b0", folder, precision)


def export_resnet(folder: Path, network: tuple[int, int], precision: Precision) -> Path:
    """Return `small-resnet18d` as ONNX for inputs of size `network`."""
    graph = SegmentationGraph(build_model("small-resnet18d").eval(), network)
    return export_untrained(graph, "small-resnet18d", folder, precision)


def export_untrained(graph: SegmentationGraph, name: str, folder: Path, precision: Precision) -> Path:
    """Return a graph with random weights as ONNX."""
    file = folder / f"{name}_{graph.size[0]}_{precision}.onnx"
    if not file.exists():
        build = EngineBuild("onnx", precision)
        metadata = ModelMetadata(name, graph.size, IMAGENET_MEAN, IMAGENET_STD, build=build)
        write_onnx(graph, replace(metadata, recipe={"weights": "random"}), file)
    return file


def measure(engines: dict[str, Segmenter], camera: tuple[int, int], repeats: int) -> dict[str, np.ndarray]:
    """Return the seconds of `repeats` calls of each engine, taken in turn."""
    image = np.random.default_rng(0).integers(0, 256, (*camera, 3), np.uint8)
    times: dict[str, list[float]] = {name: [] for name in engines}
    for round_ in range(repeats + 2):
        for name, engine in engines.items():
            time.sleep(PAUSE)
            start = time.perf_counter()
            engine(image)
            if round_ >= 2:  # the first ones warm up
                times[name].append(time.perf_counter() - start)
    return {name: np.array(taken) for name, taken in times.items()}


def prediction_parity(engine: Segmenter, checkpoint: Segmenter, camera: tuple[int, int]) -> float:
    """Return the share of equal labels on a street scene of each condition."""
    scenes = [render_scene(seed, camera, condition).image for seed, condition in enumerate(CONDITIONS)]
    return float(np.mean([(engine(scene).labels == checkpoint(scene).labels).mean() for scene in scenes]))


if __name__ == "__main__":
    torch.manual_seed(0)
    main()
