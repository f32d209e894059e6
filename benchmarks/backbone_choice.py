"""Measure candidate backbones of `small-resnet18d`: size, inference with ONNX Runtime, and a training step on a CPU.

All times are CPU seconds of one thread, so that other processes of the machine hardly matter.

Example: python benchmarks/backbone_choice.py
"""

import argparse
import contextlib
import io
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnxruntime
import torch
from torch.nn.functional import interpolate

from querydiff_core.models.build import build_model
from querydiff_core.models.querydiff import QueryDiff
from querydiff_core.models.segmentation_loss import pixel_loss

# Not repvgg_a0 and fastvit_t8: their 1 x 1 convolution of stride 2 on the image crashes PyTorch 2.14's channels-last
# backward pass on a CPU.
CANDIDATES: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "resnet18, widths 48 96 192 320": ("resnet18", {"channels": [48, 96, 192, 320]}),
    "resnet18d, widths 48 96 192 320": ("resnet18d", {"channels": [48, 96, 192, 320]}),
    "resnet18": ("resnet18", {}),
    "resnet10t": ("resnet10t", {}),
    "resnet14t": ("resnet14t", {}),
    "mobilenetv3_large_100": ("mobilenetv3_large_100", {}),
    "efficientnet_lite0": ("efficientnet_lite0", {}),
    "convnext_atto": ("convnext_atto", {}),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=5, help="timed runs of each kind; the fastest is printed")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print("| backbone | million parameters, whole model | backbone at 256 x 512, ms | step fp32, s | step bf16, s |")
    print("|---|---|---|---|---|")
    for label, (name, options) in CANDIDATES.items():
        model = build_model("small-resnet18d", backbone=name, backbone_options=options)
        millions = sum(p.numel() for p in model.parameters()) / 1e6
        inference = 1e3 * inference_seconds(model, 2 * arguments.repeats)
        steps = [step_seconds(model, bf16, arguments.repeats) for bf16 in (False, True)]
        print(f"| {label} | {millions:.1f} | {inference:.0f} | {steps[0]:.2f} | {steps[1]:.2f} |", flush=True)


def inference_seconds(model: QueryDiff, repeats: int) -> float:
    """Export the backbone alone and time it: the rest of the model is nearly the same for every backbone."""
    images = torch.randn(1, 3, 256, 512)
    with contextlib.redirect_stdout(io.StringIO()):
        program = torch.onnx.export(model.backbone.eval(), (images,), dynamo=True, verbose=False)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(program.model_proto.SerializeToString(), options)
    feed = {session.get_inputs()[0].name: images.numpy().astype(np.float32)}
    return cpu_seconds(lambda: session.run(None, feed), repeats)


def step_seconds(model: QueryDiff, bf16: bool, repeats: int) -> float:
    """Time forward and backward of the pixel path on 8 crops of 256 x 352, channels last."""
    model.train().to(memory_format=torch.channels_last)
    images = torch.randn(8, 3, 256, 352).contiguous(memory_format=torch.channels_last)
    labels = interpolate(torch.randint(0, 19, (8, 1, 8, 11)).float(), images.shape[-2:])[:, 0].long()

    def step() -> None:
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            logits = model.pixel_path(images)
        pixel_loss(logits, labels).backward()

    return cpu_seconds(step, repeats)


def cpu_seconds(run: Callable[[], object], repeats: int) -> float:
    """Return the least CPU time of `repeats` runs on one thread; a first run does not count."""
    run()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        run()
        times.append(time.process_time() - start)
    return min(times)


if __name__ == "__main__":
    main()
