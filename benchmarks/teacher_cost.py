"""What the teacher costs a training step, against two naive passes of a whole Stable Diffusion (VAE and UNet each).

FLOPs of the published 1.5 and 2.1 on the meta device; wall-clock time at a quarter of their widths on the CPU, at full
width on a GPU; on a GPU also a training step with and without the teacher. Random weights throughout.

python benchmarks/teacher_cost.py [--repeats 15] [--variant dinov2-l]
"""

from __future__ import annotations

import argparse
import copy
import time
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from torch import Tensor, nn

from querydiff_core.models.build import build_model
from querydiff_core.models.segmentation_loss import SegmentationLoss
from querydiff_core.teacher.consistency_loss import ConsistencyLoss
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.teacher_description import flops, meta_unet, meta_vae_encoder, unet_inputs
from querydiff_core.teacher.unet_features import DEFAULT_FEATURES, UNetFeatures

# As published in unet/config.json and vae/config.json; what is not named here has diffusers' defaults, as there.
UNETS: dict[str, dict[str, Any]] = {
    "1.5": {"cross_attention_dim": 768, "attention_head_dim": 8, "sample_size": 64},
    "2.1": {
        "cross_attention_dim": 1024,
        "attention_head_dim": [5, 10, 20, 20],
        "use_linear_projection": True,
        "upcast_attention": True,
        "sample_size": 96,
    },
}
VAE: dict[str, Any] = {
    "block_out_channels": [128, 256, 512, 512],
    "down_block_types": ["DownEncoderBlock2D"] * 4,
    "up_block_types": ["UpDecoderBlock2D"] * 4,
    "layers_per_block": 2,
    "sample_size": 512,
}
QUARTER: dict[str, Any] = {"block_out_channels": [80, 160, 320, 320], "norm_num_groups": 16}


def main() -> None:
    """Print three Markdown tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--batch", type=int, default=4, help="of the training step")
    parser.add_argument("--size", type=int, default=512, help="side of the training step's crops")
    parser.add_argument("--variant", default="dinov2-l", help="student of the training step")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--step", action="store_true", help="measure the training step on the CPU too")
    options = parser.parse_args()
    print_flops()
    print_times(options.device, options.repeats)
    print_steps(options)


def print_flops() -> None:
    """Count floating-point operations an image of 512 x 512, default features."""
    print("| Stable Diffusion | UNet, two passes | ours | ratio | VAE encoder, twice | ours | all: ratio |")
    print("|---|---|---|---|---|---|---|")
    for name, config in UNETS.items():
        naive, ours, vae = count(config, VAE, 512)
        ratio, all_ratio = ours / naive, (ours + vae) / (naive + 2 * vae)
        print(
            f"| {name} | {naive:.0f} GFLOP | {ours:.0f} | {ratio:.2f} | {2 * vae:.0f} | {vae:.0f} | {all_ratio:.2f} |"
        )


def count(unet_config: dict[str, Any], vae_config: dict[str, Any], side: int) -> tuple[float, float, float]:
    """Return GFLOP of two whole UNet passes, of ours, and of one encoding, for side x side pixels."""
    unet = meta_unet(unet_config)
    naive = 2 * flops(unet, *unet_inputs(unet, (1, 4, side // 8, side // 8)))
    ours = flops(UNetFeatures(unet, DEFAULT_FEATURES), *unet_inputs(unet, (2, 4, side // 8, side // 8)))
    vae = flops(meta_vae_encoder(vae_config).encoder, torch.empty(1, 3, side, side, device="meta"))
    return naive / 1e9, ours / 1e9, vae / 1e9


def print_times(device: str, repeats: int) -> None:
    """Time ours and two naive passes, interleaved."""
    full = device != "cpu"
    batch, side, dtype = (4, 512, torch.float16) if full else (1, 384, torch.float32)
    print(f"\n{device}, {'full' if full else 'quarter'} width, {batch} x {side} x {side}, {dtype}\n")
    print("| Stable Diffusion | | two naive passes, ms | ours, ms | ratio | of CPU time | of FLOPs |")
    print("|---|---|---|---|---|---|---|")
    for name, config in UNETS.items():
        widths = {} if full else QUARTER
        vae_widths = {} if full else {"block_out_channels": [32, 64, 128, 128]}
        unet_config, vae_config = {**config, **widths}, {**VAE, **vae_widths}
        two, ours, vae = count(unet_config, vae_config, side)
        teacher, naive = make_teacher(unet_config, vae_config, device, dtype)
        images = torch.rand(batch, 3, side, side, device=device)
        with torch.no_grad():
            z_0 = naive.encode(images)
        inputs = torch.cat([z_0, z_0]), torch.tensor(teacher.timesteps, device=device).repeat_interleave(batch)
        text = naive.text.expand(2 * batch, -1, -1)
        unet = torch.no_grad()(partial(teacher.unet, *inputs, text))
        calls = [partial(naive.passes, z_0), unet, partial(naive, images), partial(teacher, images)]
        times = interleaved(calls, device, repeats)
        expected = ours / two, (ours + vae) / (two + 2 * vae)
        for part, slow, fast, flop in zip(("UNet", "VAE and UNet"), times[::2], times[1::2], expected, strict=True):
            wall, cpu = fast[0] / slow[0], fast[1] / slow[1]
            print(
                f"| {name} | {part} | {slow[0]:.0f} | {fast[0]:.0f} | {wall:.2f} | {cpu:.2f} | {flop:.2f} |", flush=True
            )


class Naive:
    """Two passes of a whole UNet, each after an encoding of its own."""

    def __init__(self, unet: UNet2DConditionModel, vae: AutoencoderKL, text: Tensor) -> None:
        self.unet, self.vae, self.text = unet, vae, text

    def encode(self, images: Tensor) -> Tensor:
        return self.vae.encode((2 * images - 1).to(self.text.dtype)).latent_dist.mean * self.vae.config.scaling_factor

    @torch.no_grad()
    def passes(self, z_0: Tensor) -> None:
        for t in (0, 100):
            self.unet(z_0, t, self.text.expand(len(z_0), -1, -1))

    @torch.no_grad()
    def __call__(self, images: Tensor) -> None:
        for t in (0, 100):
            z_0 = self.encode(images)
            self.unet(z_0 + 0.1 * torch.randn_like(z_0), t, self.text.expand(len(z_0), -1, -1))


def make_teacher(
    unet_config: dict[str, Any], vae_config: dict[str, Any], device: str, dtype: torch.dtype
) -> tuple[DiffusionTeacher, Naive]:
    """Return a teacher with random weights, and what gets the same features by two whole passes."""
    torch.manual_seed(0)
    with torch.device(device):
        unet = UNet2DConditionModel.from_config(unet_config).eval()
        vae = AutoencoderKL.from_config(vae_config).eval()
        nn.ModuleList([unet, vae]).to(dtype)
        text = torch.randn(1, 77, unet_config["cross_attention_dim"], dtype=dtype)
    abar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2, 0)
    naive = Naive(copy.deepcopy(unet), vae, text)
    return DiffusionTeacher(vae, UNetFeatures(unet, DEFAULT_FEATURES), text, abar), naive


def interleaved(calls: list[Callable[[], object]], device: str, repeats: int) -> np.ndarray:
    """Return the median milliseconds of each call, `(calls, 2)`: on the wall, and of this process on the CPU."""
    times = np.zeros((repeats + 1, len(calls), 2))
    for round_ in times:
        for call, taken in zip(calls, round_, strict=True):
            synchronise(device)
            start = time.perf_counter(), time.process_time()
            call()
            synchronise(device)
            taken[:] = time.perf_counter() - start[0], time.process_time() - start[1]
    return 1000 * np.median(times[1:], 0)  # the first round warms up


def synchronise(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def print_steps(options: argparse.Namespace) -> None:
    """Time whole training steps: student in bf16 autocast, teacher (2.1) in fp16, AdamW."""
    title = f"training step, {options.variant}, {options.batch} x {options.size} x {options.size}"
    if options.device == "cpu" and not options.step:
        print(f"\n{title}: not measured (no GPU; --step measures it on the CPU)")
        return
    print(f"\n{title}, {options.device}\n\n| teacher | step, ms | images/s | peak memory, GiB |\n|---|---|---|---|")
    for name, features in (("none", None), ("2.1, default features", DEFAULT_FEATURES)):
        step = make_step(options, with_teacher=features is not None)
        if options.device.startswith("cuda"):
            torch.cuda.reset_peak_memory_stats()
        ms = interleaved([step], options.device, options.repeats)[0, 0]
        peak = torch.cuda.max_memory_allocated() / 2**30 if options.device.startswith("cuda") else float("nan")
        print(f"| {name} | {ms:.0f} | {1000 * options.batch / ms:.1f} | {peak:.1f} |", flush=True)
        del step
        torch.cuda.empty_cache()


def make_step(options: argparse.Namespace, with_teacher: bool) -> Callable[[], None]:
    """Return one training step on random images and labels."""
    torch.manual_seed(0)
    device, full = options.device, options.device.startswith("cuda")
    student, criterion = build_model(options.variant).to(device), SegmentationLoss(19).to(device)
    parameters = list(student.parameters())
    if with_teacher:
        widths = {} if full else QUARTER
        teacher, _ = make_teacher({**UNETS["2.1"], **widths}, VAE, device, torch.float16 if full else torch.float32)
        teacher.to(memory_format=torch.channels_last)
        consistency = ConsistencyLoss(student.config["channels"], teacher.channels).to(device)
        parameters += consistency.parameters()
    optimizer = torch.optim.AdamW(parameters, 1e-5)
    images = torch.rand(options.batch, 3, options.size, options.size, device=device)
    labels = torch.randint(0, 19, (options.batch, options.size, options.size), device=device)

    def step() -> None:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            output = student(images)
            loss = criterion(output, labels)["loss"]
            if with_teacher:
                loss = loss + consistency(output.agent_queries, teacher(images))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    return step


if __name__ == "__main__":
    main()
