"""Train a latent diffusion from unlabelled images: both stages, from wherever the folder's last run stopped."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models import AutoencoderKL
from diffusers.pipelines import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.utils import logging as diffusers_logging
from safetensors import SafetensorError
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.latent_diffusion import networks
from querydiff_core.teacher.latent_diffusion.autoencoder_stage import AutoencoderStage, set_scaling_factor
from querydiff_core.teacher.latent_diffusion.denoiser_stage import DenoiserStage
from querydiff_core.teacher.latent_diffusion.image_crops import Images, held_out_crops
from querydiff_core.teacher.latent_diffusion.memory_advice import memory_advice
from querydiff_core.teacher.latent_diffusion.recipe import Recipe
from querydiff_core.teacher.latent_diffusion.run_folder import RunFolder
from querydiff_core.teacher.latent_diffusion.stage import Stage
from querydiff_core.teacher.latent_diffusion.stage_training import StageTraining, Surroundings, signed
from querydiff_core.utils.stop_signal import StopSignal


class TrainingRun:
    """One run of `querydiff teacher train`.

    Args:
        output: the folder to fill; a teacher in the layout of Stable Diffusion when done.
        recipe: which teacher.
        images: to train on and to judge by.
        device: "auto", "cpu", "cuda" or "cuda:N".
        workers: processes that read images.
        save_every: steps between states, judgements and pictures.
        samples: drawn each time.
        resume: go on with an unfinished run in `output`, or throw it away.

    Raises:
        QueryDiffError: if the device is not there or `output` cannot be used.
    """

    def __init__(
        self,
        output: Path,
        recipe: Recipe,
        images: Images,
        *,
        device: str = "auto",
        workers: int = 0,
        save_every: int = 500,
        samples: int = 8,
        resume: bool = True,
    ) -> None:
        for flag, value, least in (("workers", workers, 0), ("save-every", save_every, 1), ("samples", samples, 0)):
            if value < least:
                raise QueryDiffError(f"--{flag} must be {least} or more, found {value}.")
        self.recipe, self.images = recipe, images
        self.device = _device(device)
        self.folder = RunFolder(output)
        self.folder.begin(recipe, resume)
        self._options = {"workers": workers, "save_every": save_every, "samples": samples}
        self._width = networks.WIDTHS[recipe.width]
        self._half = recipe.precision == "bf16"

    def train(self) -> bool:
        """Train and write the teacher; False if the user stopped it, with the state kept."""
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        size = "x".join(map(str, self.recipe.size))
        what = f"A step of {self.recipe.batch} images of {size} pixels"
        with StopSignal() as stop, memory_advice(what), self._writing():
            held_out = signed(held_out_crops(self.images.held_out, self.recipe.size).to(self.device))
            unreadable = set(self.images.unreadable)
            around = Surroundings(
                self.folder, self.recipe, self.images.training, held_out, unreadable, stop, **self._options
            )
            return self._train_autoencoder(around) and self._train_denoiser(around)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except (OSError, SafetensorError) as error:  # a full disk, for one
            raise QueryDiffError(
                f"Cannot write into {self.folder.path} ({error}): make room there and repeat the command to go on from "
                "the last state."
            ) from error

    def _train_autoencoder(self, around: Surroundings) -> bool:
        if self.folder.part("vae").exists():
            return True
        network = self._new(networks.new_autoencoder, self._width, self.recipe.downsampling)
        if not self._finish(AutoencoderStage(network, self.recipe.autoencoder_steps, half=self._half), around):
            return False
        set_scaling_factor(network, around.held_out)
        self.folder.write("vae", network.save_pretrained)
        return True

    def _train_denoiser(self, around: Surroundings) -> bool:
        pipeline = self._pipeline()
        stage = DenoiserStage(pipeline, self.recipe.denoiser_steps, self.recipe.seed, half=self._half)
        if not self._finish(stage, around):
            return False
        self.folder.write("unet", pipeline.unet.save_pretrained)
        self.folder.finish(pipeline.save_config)
        if around.unreadable:
            print(f"{len(around.unreadable)} images could not be decoded and were left out")
        return True

    def _finish(self, stage: Stage, around: Surroundings) -> bool:
        return StageTraining(stage, around).run()

    def _pipeline(self) -> Any:
        """Return diffusers' pipeline of the trained autoencoder, a new UNet, and the parts that are never trained."""
        if not self.folder.part("tokenizer").exists():
            self.folder.write("text_encoder", self._new(networks.new_text_encoder, self._width).save_pretrained)
            self.folder.write("scheduler", networks.new_scheduler(self.recipe.prediction).save_pretrained)
            self.folder.write("tokenizer", networks.write_tokenizer)
        pipeline: Any = StableDiffusionPipeline(
            vae=AutoencoderKL.from_pretrained(self.folder.part("vae"), low_cpu_mem_usage=False),
            text_encoder=CLIPTextModel.from_pretrained(self.folder.part("text_encoder")),
            tokenizer=CLIPTokenizer.from_pretrained(self.folder.part("tokenizer")),
            unet=self._new(networks.new_denoiser, self._width, self.recipe.size[0] // self.recipe.downsampling),
            scheduler=DDPMScheduler.from_pretrained(self.folder.part("scheduler")),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.to(self.device)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    def _new(self, build: Any, *arguments: Any) -> Any:
        """Build a network whose initial weights depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed)
            return build(*arguments).to(self.device)


def _device(name: str) -> torch.device:
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    kind, _, index = name.partition(":")
    if kind not in ("cpu", "cuda") or (index and not index.isdecimal()):
        raise QueryDiffError(f"--device must be auto, cpu, cuda or cuda:N, found {name}.")
    if kind == "cuda" and int(index or 0) >= torch.cuda.device_count():
        raise QueryDiffError(f"--device {name} is not there: PyTorch sees {torch.cuda.device_count()} CUDA devices.")
    return torch.device(name)
