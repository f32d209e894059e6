"""Complete tiny Stable Diffusion folders with random weights, and what tests of `querydiff teacher` share."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel

from querydiff_core.cli import teacher as teacher_command
from querydiff_core.cli.main import exit_cleanly

SIZE = (64, 128)
"""Height and width of the images that tests show it."""
TEXT_CHANNELS = 16
START, END = "<|startoftext|>", "<|endoftext|>"
# What sets the UNet of Stable Diffusion 2.x apart from that of 1.x: heads by level, linear projections, and upcasting.
UNET_OF_2 = {"attention_head_dim": [2, 2, 3, 3], "use_linear_projection": True, "upcast_attention": True}


def write_tiny_teacher(
    folder: Path,
    *,
    prediction_type: Literal["epsilon", "v_prediction"] = "epsilon",
    unet: Mapping[str, Any] | None = None,
    seed: int = 0,
) -> Path:
    """Write a folder in the diffusers layout that differs from Stable Diffusion in its widths alone.

    Like it, it has four UNet levels, hence the default features, and needs image sides that are multiples of 64. It is
    a 1.x; with `UNET_OF_2` as what differs in its UNet, it is a 2.x.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        tiny_vae().save_pretrained(folder / "vae")
        tiny_unet(**(unet or {})).save_pretrained(folder / "unet")
        tiny_text_encoder().save_pretrained(folder / "text_encoder")
    _write_tokenizer(folder / "tokenizer")
    scheduler(prediction_type).save_pretrained(folder / "scheduler")
    _write_index(folder / "model_index.json")
    return folder


def tiny_vae() -> AutoencoderKL:
    return AutoencoderKL(
        down_block_types=["DownEncoderBlock2D"] * 4,
        up_block_types=["UpDecoderBlock2D"] * 4,
        block_out_channels=[8, 8, 8, 8],
        norm_num_groups=4,
        scaling_factor=0.18215,
    )


def tiny_unet(**options: Any) -> UNet2DConditionModel:
    sizes = {"sample_size": 8, "block_out_channels": [16, 16, 24, 24], "norm_num_groups": 8}
    return UNet2DConditionModel(**{**sizes, "attention_head_dim": 8, "cross_attention_dim": TEXT_CHANNELS, **options})


def tiny_text_encoder() -> CLIPTextModel:
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=256 * 2 + 2,
            hidden_size=TEXT_CHANNELS,
            intermediate_size=2 * TEXT_CHANNELS,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=512,
            eos_token_id=513,
        )
    )


def scheduler(prediction_type: str) -> DDIMScheduler:
    """Return a scheduler with the settings that Stable Diffusion 1.x and 2.x ship."""
    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        prediction_type=prediction_type,
    )


def _write_tokenizer(folder: Path) -> None:
    """Write a byte-level vocabulary without merges, in the files that CLIP's tokenizer has always had."""
    folder.mkdir()
    symbols = [chr(256 + byte) for byte in range(256)]
    vocabulary = {token: i for i, token in enumerate([*symbols, *(s + "</w>" for s in symbols), START, END])}
    special = {"bos_token": START, "eos_token": END, "pad_token": END, "unk_token": END}
    (folder / "vocab.json").write_text(json.dumps(vocabulary), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n", "utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(special), "utf-8")
    settings = {"tokenizer_class": "CLIPTokenizer", "model_max_length": 77, **special}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), "utf-8")


def _write_index(path: Path) -> None:
    parts = {
        "vae": ["diffusers", "AutoencoderKL"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "scheduler": ["diffusers", "DDIMScheduler"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "safety_checker": [None, None],
        "feature_extractor": [None, None],
    }
    path.write_text(json.dumps({"_class_name": "StableDiffusionPipeline", **parts}, indent=2), "utf-8")


def querydiff(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[Any, str, str]:
    """Run the command in this process, as importing diffusers takes seconds; return exit code, output and errors."""
    with pytest.raises(SystemExit) as leaving:
        exit_cleanly(lambda: teacher_command.main([*map(str, arguments)]))
    return leaving.value.code, *capsys.readouterr()


def logged(folder: Path, stage: str, name: str) -> dict[int, str]:
    """Return what was logged of `name` as it was written, by step, and check that a step never has two values."""
    values: dict[int, str] = {}
    for file in sorted((folder / "logs" / stage).glob("version_*/metrics.csv")):
        for row in csv.DictReader(file.open()):
            if row.get(name):
                assert values.setdefault(int(row["step"]), row[name]) == row[name]
    return values
