"""From the head of `small-resnet18d` to that of `small`, change by change: predicted and measured.

python benchmarks/head_candidates.py [--calls 12]

All have EfficientNet-Lite0 as backbone, random weights and a network input of 256 x 512. Predicted is the first one's
time in the ratio of the multiplications; measured is the sum over the operators of the exported graph of ONNX Runtime's
shortest time for each, on one thread, all graphs called in turn.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.utils.flop_counter import FlopCounterMode

from querydiff_core.export.onnx_export import write_onnx
from querydiff_core.inference.metadata import ModelMetadata
from querydiff_core.inference.onnxruntime_engine import SLOWER
from querydiff_core.inference.segmentation_graph import SegmentationGraph
from querydiff_core.models.build import build_model

SIZE = (256, 512)
LITE: Mapping[str, Any] = {"backbone": "tf_efficientnet_lite0", "backbone_options": {}}
PYRAMID = {**LITE, "pixel_decoder": "pyramid"}
CANDIDATES: Mapping[str, Mapping[str, Any]] = {
    "the head of small-resnet18d": LITE,
    "and the pyramid decoder (no refinement at 1/4, separable convolutions, norms that fold)": PYRAMID,
    "and 50 queries instead of 100": {**PYRAMID, "queries": 50},
    "and agent queries from 1/8 and coarser: small": {**PYRAMID, "queries": 50, "query_maps": 3},
}
KINDS = {"Conv": "convolutions", "MatMul": "products", "FusedMatMul": "products"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--calls", type=int, default=12, help="of each graph; the shortest time of an operator counts")
    arguments = parser.parse_args()
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{index}.onnx" for index in range(len(CANDIDATES))]
        billions = [export(changes, file) for changes, file in zip(CANDIDATES.values(), files, strict=True)]
        times = operator_times(files, arguments.calls)
    print("| head | billion multiplications | predicted, ms | measured | convolutions | products | other | operators |")
    print("|---|---|---|---|---|---|---|---|")
    rate = sum(milliseconds for _, milliseconds in times[0]) / billions[0]
    for name, count, operators in zip(CANDIDATES, billions, times, strict=True):
        kinds: Counter[str] = Counter()
        for operator, milliseconds in operators:
            kinds[KINDS.get(operator, "other")] += milliseconds
        shares = " | ".join(f"{kinds[kind]:.1f}" for kind in ("convolutions", "products", "other"))
        print(f"| {name} | {count:.2f} | {rate * count:.1f} | {kinds.total():.1f} | {shares} | {len(operators)} |")


def export(changes: Mapping[str, Any], file: Path) -> float:
    """Write the student as ONNX and return its multiplications, in billions."""
    model = build_model("small-resnet18d", **changes).eval().requires_grad_(False)
    with FlopCounterMode(display=False) as counter:
        model(torch.zeros(1, 3, *SIZE))
    write_onnx(SegmentationGraph(model, SIZE), ModelMetadata(model.variant, SIZE, model.mean, model.std), file)
    return counter.get_total_flops() / 2e9


def operator_times(files: list[Path], calls: int) -> list[list[tuple[str, float]]]:
    """Return the kind and the shortest milliseconds of each operator of each graph."""
    sessions = [open_profiled(file) for file in files]
    image = np.random.default_rng(0).integers(0, 256, (1, *SIZE, 3), np.uint8)
    for _ in range(calls):
        for session in sessions:
            session.run(None, {"images": image})
    return [shortest(Path(session.end_profiling())) for session in sessions]


def open_profiled(file: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.enable_profiling = True
    options.profile_file_prefix = str(file.with_suffix(""))
    return onnxruntime.InferenceSession(file, options, ["CPUExecutionProvider"], disabled_optimizers=SLOWER)


def shortest(profile: Path) -> list[tuple[str, float]]:
    durations = defaultdict(list)
    for event in json.loads(profile.read_text()):
        if event.get("cat") == "Node" and event["name"].endswith("_kernel_time"):
            durations[event["name"], event["args"]["op_name"]].append(event["dur"] / 1000)
    return [(operator, min(taken)) for (_, operator), taken in durations.items()]


if __name__ == "__main__":
    main()
