"""Train a latent diffusion from unlabelled images: both stages, from wherever the folder's last run stopped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from diffusers.models import AutoencoderKL
from diffusers.pipelines import StableDiffusionPipeline
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from diffusers.utils import logging as diffusers_logging
from lightning import Trainer
from lightning.pytorch.callbacks import WeightAveraging
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from safetensors import SafetensorError
from torch import Tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.teacher.imagenet_latents import ImageNetLatents
from querydiff_core.teacher.latent_diffusion import networks
from querydiff_core.teacher.latent_diffusion.image_crops import ImageCrops, Images, RandomCrops, held_out_crops, signed
from querydiff_core.teacher.latent_diffusion.recipe import Recipe
from querydiff_core.teacher.latent_diffusion.run_folder import RunFolder
from querydiff_core.training.autoencoder_module import AutoencoderModule, set_scaling_factor
from querydiff_core.training.denoiser_module import DenoiserModule
from querydiff_core.training.resume import KeepValidatedState, WholeFileCheckpoints, training_state
from querydiff_core.training.run_progress import AnnounceRun, run_progress
from querydiff_core.training.save_pictures import SaveTeacherPictures
from querydiff_core.training.stop_on_signal import StopOnSignal
from querydiff_core.training.teacher_module import TeacherModule

DECAY = 0.999  # of the average of the weights; it is shorter in the beginning
LARGEST_GRADIENT = 1.0  # norm of all gradients together
MEASURED, MEASURED_CROPS = 2, 256  # what sets their draws apart, and number, of the crops that latents are whitened by


class TeacherTraining:
    """One run of `querydiff teacher train`.

    Args:
        output: the folder to fill; a teacher in the layout of Stable Diffusion when done.
        recipe: which teacher, and how it is trained.
        images: files to train on and to score by.
        resume: whether to go on with an unfinished run in `output`; otherwise it is thrown away.

    Raises:
        QueryDiffError: if `output` cannot be used, more than one device was asked for, or ImageNet latents without the
            package of the network's weights.
        MisconfigurationException: if the device is not there.
    """

    def __init__(self, output: Path, recipe: Recipe, images: Images, *, resume: bool = True) -> None:
        self.recipe, self.images, self.folder = recipe, images, RunFolder(output)
        self._stop = StopOnSignal("repeat the command to go on")
        devices = self._trainer(logger=False, enable_checkpointing=False, enable_progress_bar=False)
        if devices.num_devices != 1:
            raise QueryDiffError(
                f"A teacher is trained on one device: --trainer.devices asks for {devices.num_devices}."
            )
        self.device: torch.device = devices.strategy.root_device
        if recipe.latents == "imagenet":
            ImageNetLatents().load_network()  # refused before anything is written
        self.folder.begin(recipe, resume)

    def train(self) -> bool:
        """Train and write the teacher; False if the user stopped it, with the state kept."""
        diffusers_logging.disable_progress_bar()
        transformers_logging.disable_progress_bar()
        full = (
            f"Cannot write into {self.folder.path} ({{reason}}): make room there and repeat the command to go on from "
            "the last state."
        )
        with explained(full, OSError, SafetensorError):
            return self._make_latents() and self._train_denoiser()

    def _make_latents(self) -> bool:
        if self.folder.part("vae").exists():
            return True
        if self.recipe.latents == "imagenet":
            random = RandomCrops(self.images.training, self.recipe.data.crop, (self.recipe.seed_everything, MEASURED))
            crops = (signed(random[number].images) for number in range(MEASURED_CROPS))
            self.folder.write("vae", ImageNetLatents.measured(crops, self.device).save_pretrained)
        else:
            network = self._new(networks.new_autoencoder, self._width, self.recipe.model.downsampling)
            if not self._fit(AutoencoderModule(network, self.recipe), self.recipe.model.autoencoder_steps):
                return False
            held_out = held_out_crops(self.images.held_out, self.recipe.data.crop)
            set_scaling_factor(network, signed(held_out))
            self.folder.write("vae", network.save_pretrained)
        return not self._stop.stopped

    def _train_denoiser(self) -> bool:
        pipeline = self._pipeline()
        if not self._fit(DenoiserModule(pipeline, self.recipe), self.recipe.model.denoiser_steps):
            return False
        self.folder.write("unet", pipeline.unet.save_pretrained)
        self.folder.finish(pipeline.save_config)
        if self.images.unreadable:
            print(f"{len(self.images.unreadable)} images could not be decoded and were left out")
        return True

    def _fit(self, module: TeacherModule, steps: int) -> bool:
        """Train to the last step and leave the network with its averaged weights; False if the user stopped it."""
        states = self.folder.states / module.name
        data = ImageCrops(self.images, self.recipe.data, (self.recipe.seed_everything, module.number))
        state = training_state("last", states) if any(states.glob("[!.]*.ckpt")) else None
        csv = CSVLogger(self.folder.logs, module.name, flush_logs_every_n_steps=1)
        trainer = self._trainer(
            max_steps=steps,
            logger=[csv, TensorBoardLogger(self.folder.logs, module.name, csv.version)],
            callbacks=self._callbacks(states / "last.ckpt"),
            enable_checkpointing=False,
            enable_progress_bar=self.recipe.trainer.enable_progress_bar,
        )
        trainer.fit(module.to(self.device), data, ckpt_path=state, weights_only=True)
        if trainer.global_step < steps:
            return False
        averaged = torch.load(states / "last.ckpt", map_location=self.device, weights_only=True)["state_dict"]
        module.load_state_dict(averaged)
        module.eval()
        return True

    def _callbacks(self, state: Path) -> list[Any]:
        return [
            *([run_progress()] if self.recipe.trainer.enable_progress_bar else []),
            *(AnnounceRun(), self._stop, SaveTeacherPictures(self.folder.pictures), KeepValidatedState(state)),
            # In the end it gives the network its average, hence after the state has been kept.
            WeightAveraging(use_buffers=False, multi_avg_fn=_moving_average),
        ]

    def _trainer(self, **settings: Any) -> Trainer:
        options = self.recipe.trainer
        return Trainer(
            accelerator=options.accelerator,
            devices=options.devices,
            precision=options.precision,
            val_check_interval=options.val_check_interval,
            check_val_every_n_epoch=None,
            log_every_n_steps=options.log_every_n_steps,
            gradient_clip_val=LARGEST_GRADIENT,
            num_sanity_val_steps=0,
            enable_model_summary=False,
            default_root_dir=self.folder.path,
            plugins=[WholeFileCheckpoints()],
            **settings,
        )

    def _pipeline(self) -> Any:
        """Return diffusers' pipeline of the trained autoencoder, a new UNet, and the parts that are never trained."""
        if not self.folder.part("tokenizer").exists():
            self.folder.write("text_encoder", self._new(networks.new_text_encoder, self._width).save_pretrained)
            self.folder.write("scheduler", networks.new_scheduler(self.recipe.model.prediction).save_pretrained)
            self.folder.write("tokenizer", networks.write_tokenizer)
        latents: Any = ImageNetLatents if self.recipe.latents == "imagenet" else AutoencoderKL
        vae = latents.from_pretrained(self.folder.part("vae"), low_cpu_mem_usage=False)
        if self.recipe.latents == "imagenet":
            vae.load_network()
        side = self.recipe.data.crop[0] // self.recipe.latent_cell
        channels = vae.config["latent_channels"]
        pipeline: Any = StableDiffusionPipeline(
            vae=vae,
            text_encoder=CLIPTextModel.from_pretrained(self.folder.part("text_encoder")),
            tokenizer=CLIPTokenizer.from_pretrained(self.folder.part("tokenizer")),
            unet=self._new(networks.new_denoiser, self._width, side, self.recipe.unet_levels, channels),
            scheduler=DDPMScheduler.from_pretrained(self.folder.part("scheduler")),
            safety_checker=None,
            feature_extractor=None,
            requires_safety_checker=False,
        )
        pipeline.to(self.device)
        pipeline.set_progress_bar_config(disable=True)
        return pipeline

    @property
    def _width(self) -> networks.Width:
        return networks.WIDTHS[self.recipe.model.width]

    def _new(self, build: Any, *arguments: Any) -> Any:
        """Build a network whose initial weights depend on the seed alone."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.recipe.seed_everything)
            return build(*arguments).to(self.device)


def _moving_average(averages: list[Tensor], weights: list[Tensor], updates: Tensor) -> None:
    """Move the averages towards the weights, by a decay that grows to `DECAY` with the number of `updates`."""
    decay = min(DECAY, (1 + int(updates)) / (10 + int(updates)))
    get_ema_multi_avg_fn(decay)(averages, weights, updates)
