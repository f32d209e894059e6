"""A training step of today's `small` and of `small-resnet18d`: through the pixel head, and of the full student.

python benchmarks/training_step.py [--repeats 3]

Forward and backward on 8 crops of 256 x 352 of street scenes in bf16, without the optimiser, each case in a process of
its own. Times are CPU seconds of one thread, the least of the repeats; memory is the most that the process has held.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import time

import numpy as np
import torch

from querydiff_core.models.build import build_model
from querydiff_core.models.depthwise_fp32 import keep_depthwise_in_fp32
from querydiff_core.models.segmentation_loss import SegmentationLoss, pixel_loss
from querydiff_core.street_scenes import CONDITIONS, render_scene

VARIANTS = ("small-resnet18d", "small")
CROPS, SIZE = 8, (256, 352)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    arguments = parser.parse_args()
    print("| student | pixel-head step, s | full step, s | ratio | pixel-head, MB | full, MB |")
    print("|---|---|---|---|---|---|")
    with multiprocessing.get_context("spawn").Pool(1, maxtasksperchild=1) as processes:
        for variant in VARIANTS:
            cases = [(variant, phase, arguments.repeats) for phase in ("pixel_head", "full")]
            (pixel, pixel_memory), (full, full_memory) = (processes.apply(measure, case) for case in cases)
            megabytes = f"{pixel_memory / 1e6:.0f} | {full_memory / 1e6:.0f}"
            print(f"| {variant} | {pixel:.2f} | {full:.2f} | {full / pixel:.2f} | {megabytes} |", flush=True)


def measure(variant: str, phase: str, repeats: int) -> tuple[float, float]:
    """Return the CPU seconds of a step and the process's peak memory in bytes."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model, loss = build_model(variant).train().to(memory_format=torch.channels_last), SegmentationLoss()
    keep_depthwise_in_fp32(model)
    scenes = [render_scene(seed, SIZE, CONDITIONS[seed % len(CONDITIONS)]) for seed in range(CROPS)]
    images = torch.from_numpy(np.stack([scene.image for scene in scenes])).permute(0, 3, 1, 2) / 127.5 - 1
    labels = torch.from_numpy(np.stack([scene.labels for scene in scenes])).long()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16):
            if phase == "full":
                total = loss(model(images), labels, seed=0)["loss"]
            else:
                total = pixel_loss(model.pixel_path(images), labels)
        total.backward()

    times = []
    for _ in range(repeats + 1):
        start = time.process_time()
        step()
        times.append(time.process_time() - start)
    return min(times[1:]), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


if __name__ == "__main__":
    main()
