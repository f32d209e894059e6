"""The networks of a small latent diffusion: Stable Diffusion's classes with fewer channels."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from diffusers.models import AutoencoderKL, UNet2DConditionModel
from diffusers.schedulers.scheduling_ddpm import DDPMScheduler
from transformers import CLIPTextConfig, CLIPTextModel

LATENT_CHANNELS = 4
TEXT_TOKENS = 8  # of the empty text: start, end, padding; fewer than CLIP's 77, for they cost time in every block
START, END = "<|startoftext|>", "<|endoftext|>"


@dataclass(frozen=True)
class Width:
    """Channels of one preset.

    Args:
        autoencoder: channels of the autoencoder at 1/1, 1/2, 1/4 and 1/8 of the image's size.
        denoiser: channels of the UNet's four levels.
        text: channels of the text embedding.
        groups: number of groups of the group normalisation.
    """

    autoencoder: tuple[int, int, int, int]
    denoiser: tuple[int, int, int, int]
    text: int
    groups: int


WIDTHS = {
    "small": Width(autoencoder=(32, 64, 64, 128), denoiser=(64, 128, 192, 256), text=64, groups=16),
    "tiny": Width(autoencoder=(16, 32, 32, 64), denoiser=(32, 64, 96, 128), text=32, groups=16),
}


def new_autoencoder(width: Width, downsampling: int) -> AutoencoderKL:
    """Build a KL autoencoder with random weights whose latent cells are `downsampling` (4 or 8) pixels wide."""
    channels = width.autoencoder[: downsampling.bit_length()]
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * len(channels),
        up_block_types=("UpDecoderBlock2D",) * len(channels),
        block_out_channels=channels,
        layers_per_block=1,
        latent_channels=LATENT_CHANNELS,
        norm_num_groups=width.groups,
        mid_block_add_attention=False,  # its cost grows with the square of the image, for little at these sizes
    )


def new_denoiser(
    width: Width, sample_size: int, levels: int = 4, latent_channels: int = LATENT_CHANNELS
) -> UNet2DConditionModel:
    """Build a UNet with random weights in Stable Diffusion's layout.

    Args:
        width: of its four levels.
        sample_size: the latents' usual side.
        levels: number of levels, of which the widest stay; the coarsest has no attention, as in Stable Diffusion.
        latent_channels: of the latents.
    """
    return UNet2DConditionModel(
        sample_size=sample_size,
        in_channels=latent_channels,
        out_channels=latent_channels,
        down_block_types=("CrossAttnDownBlock2D",) * (levels - 1) + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * (levels - 1),
        layers_per_block=2,
        block_out_channels=width.denoiser[-levels:],
        attention_head_dim=4,  # heads, in spite of its name, as in Stable Diffusion 1.x
        cross_attention_dim=width.text,
        norm_num_groups=width.groups,
    )


def new_scheduler(prediction: str) -> DDPMScheduler:
    """Build Stable Diffusion's noise schedule; `prediction` is "epsilon" or "v"."""
    return DDPMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        steps_offset=1,
        prediction_type="v_prediction" if prediction == "v" else "epsilon",
        timestep_spacing="trailing",  # samples begin at the last timestep, which is noise alone
    )


def new_text_encoder(width: Width) -> CLIPTextModel:
    """Build a text encoder with random weights that stay as they are.

    Only the empty text is ever used, by this training and by the teacher: its embedding is a constant that the UNet
    learns to live with, so nothing is gained by training it. The part exists because the layout asks for it.
    """
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=2,
            hidden_size=width.text,
            intermediate_size=width.text,
            num_hidden_layers=1,
            num_attention_heads=1,
            max_position_embeddings=TEXT_TOKENS,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    )


def write_tokenizer(folder: Path) -> None:
    """Write a CLIP tokenizer that knows the start and the end of a text and no word: the empty text needs no more."""
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": TEXT_TOKENS, **special}
    (folder / "vocab.json").write_text(json.dumps({START: 0, END: 1}), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), "utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")
