"""The other use of a diffusion model: let it paint further training images over labelled ones (image-to-image).

It may take as long as distillation with the same model: the time of a run with the teacher less that of the same run
without it.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from querydiff_core.errors import QueryDiffError
from querydiff_core.utils.atomic_file import atomic_file
from querydiff_core.utils.image_files import read_image, write_image
from querydiff_core.utils.stop_signal import StopSignal

BATCH = 4


def main(argv: Sequence[str]) -> None:
    """Paint until the time is spent; Ctrl-C exits with 130, and the next call goes on from there."""
    arguments = _parser().parse_args(argv)
    measure = "cpu_seconds" if arguments.device == "cpu" else "wall_seconds"
    budget = max(0.0, _seconds(arguments.with_teacher, measure) - _seconds(arguments.without_teacher, measure))
    stems = sorted(file.stem for file in (arguments.source / "images").iterdir())
    order = np.random.default_rng(arguments.seed).permutation(stems)
    progress = Path("augmentation.json")
    spent, done = json.loads(progress.read_text()).values() if progress.exists() else (0.0, 0)
    paint = Painter(arguments.teacher, arguments.strength, arguments.inference_steps, arguments.device)
    with StopSignal() as stop:
        while done < len(order) and (done == 0 or spent < budget):
            if stop.made:
                raise SystemExit(130)
            began = paint.clock()
            for stem, picture in zip(*paint(arguments.source, order[done : done + BATCH], done), strict=True):
                write_image(arguments.output / "images" / f"{stem}.png", picture)
                label = arguments.output / "labels" / f"{stem}.png"
                label.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(arguments.source / "labels" / f"{stem}.png", label)
            spent, done = spent + paint.clock() - began, min(done + BATCH, len(order))
            with atomic_file(progress) as temporary:
                temporary.write_text(json.dumps({"seconds": spent, "images": done}))
    print(f"{done} images in {spent:.0f} s; distillation took {budget:.0f} s")


class Painter:
    """Image-to-image translation with the empty text, by the pipeline of diffusers.

    Args:
        teacher: folder in the layout of diffusers.
        strength: share of the noise schedule that is added to an image and removed again, 0 to 1.
        steps: of the complete schedule.
        device: cpu or cuda.
    """

    def __init__(self, teacher: Path, strength: float, steps: int, device: str) -> None:
        from diffusers import DDIMScheduler, StableDiffusionImg2ImgPipeline

        options = {"safety_checker": None, "feature_extractor": None, "requires_safety_checker": False}
        self.pipeline = StableDiffusionImg2ImgPipeline.from_pretrained(str(teacher), local_files_only=True, **options)
        self.pipeline.scheduler = DDIMScheduler.from_config(self.pipeline.scheduler.config)
        self.pipeline.to(device).set_progress_bar_config(disable=True)
        self.strength, self.steps, self.device = strength, steps, device

    def __call__(self, source: Path, stems: Sequence[str], seed: int) -> tuple[list[str], list[np.ndarray]]:
        """Return the stems and the pictures painted over their images, uint8 RGB `(H, W, 3)`."""
        images = [read_image(source / "images" / f"{stem}.jpg") for stem in stems]
        pixels = torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) / 255
        generator = torch.Generator().manual_seed(seed)
        painted = self.pipeline(
            prompt=[""] * len(images),
            image=pixels,
            strength=self.strength,
            num_inference_steps=self.steps,
            guidance_scale=1.0,
            generator=generator,
            output_type="np",
        ).images
        return list(stems), list((255 * painted).round().astype(np.uint8))

    def clock(self) -> float:
        """Return seconds of CPU time, on a GPU of wall-clock time."""
        return time.process_time() if self.device == "cpu" else time.monotonic()


def _seconds(record: Path, measure: str) -> float:
    try:
        return float(json.loads(record.read_text())[measure])
    except (OSError, ValueError, KeyError) as error:
        raise QueryDiffError(f"{record} does not record the time of a run: run the study again.") from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("diffusion-augmentation", description=__doc__)
    for name in ("teacher", "source", "output", "with-teacher", "without-teacher"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--strength", type=float, default=0.4)
    parser.add_argument("--inference-steps", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="cpu")
    return parser
