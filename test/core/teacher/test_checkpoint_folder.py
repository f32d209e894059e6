"""Stable Diffusion folders as users have them: published oddities are read, everything else is one sentence."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher

UNET_WEIGHTS = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def copied(folder: Path, tmp_path: Path) -> Path:
    """Return a copy that a test may damage."""
    return shutil.copytree(folder, tmp_path / "copy")


def test_shifted_latents(copied: Path, images: torch.Tensor) -> None:
    plain = DiffusionTeacher.load(copied).encode(images)
    config = json.loads((copied / "vae/config.json").read_text())
    (copied / "vae/config.json").write_text(json.dumps({**config, "scaling_factor": 2.0, "shift_factor": 0.25}))
    expected = 2 * (plain / config["scaling_factor"] - 0.25)
    torch.testing.assert_close(DiffusionTeacher.load(copied).encode(images), expected)


def test_half_precision_file_alone_will_do(copied: Path, images: torch.Tensor, noise: torch.Tensor) -> None:
    weights = {key: value.half() for key, value in load_file(copied / UNET_WEIGHTS).items()}
    save_file(weights, copied / "unet/diffusion_pytorch_model.fp16.safetensors", {"format": "pt"})
    exact = DiffusionTeacher.load(copied)(images, noise)
    (copied / UNET_WEIGHTS).unlink()
    features = DiffusionTeacher.load(copied)(images, noise)
    torch.testing.assert_close(features.strong[0], exact.strong[0], atol=0.05, rtol=0)


def test_reads_the_old_names_of_the_published_autoencoders(copied: Path, images: torch.Tensor) -> None:
    """Stable Diffusion 1.4, 1.5 and 2.1 ship a VAE whose attention has the names of diffusers' first versions."""
    expected = DiffusionTeacher.load(copied).encode(images)
    path, old = copied / "vae/diffusion_pytorch_model.safetensors", {}
    for name, value in load_file(path).items():
        for new, before in (("to_q", "query"), ("to_k", "key"), ("to_v", "value"), ("to_out.0", "proj_attn")):
            name = name.replace(f"attentions.0.{new}.", f"attentions.0.{before}.")  # noqa: PLW2901
        old[name] = value
    assert "encoder.mid_block.attentions.0.query.weight" in old
    save_file(old, path, {"format": "pt"})
    assert torch.equal(DiffusionTeacher.load(copied).encode(images), expected)


def refused(call: Callable[[], object]) -> str:
    with pytest.raises(QueryDiffError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


def test_refuses_what_is_no_diffusers_folder(copied: Path, tmp_path: Path) -> None:
    shutil.rmtree(copied / "vae")
    message = refused(lambda: DiffusionTeacher.load(copied))
    assert "vae/config.json" in message
    assert "unet/config.json" not in message
    single = tmp_path / "sd.safetensors"
    single.write_bytes(b"")
    assert "from_single_file" in refused(lambda: DiffusionTeacher.load(single))


def test_refuses_pickled_weights(copied: Path) -> None:
    torch.save(load_file(copied / UNET_WEIGHTS), copied / "unet/diffusion_pytorch_model.bin")
    (copied / UNET_WEIGHTS).unlink()
    message = refused(lambda: DiffusionTeacher.load(copied))
    assert "diffusion_pytorch_model.bin" in message
    assert "save_pretrained" in message


def test_refuses_incomplete_and_damaged_weights(copied: Path) -> None:
    weights = load_file(copied / UNET_WEIGHTS)
    save_file({k: v for k, v in weights.items() if k != "conv_in.weight"}, copied / UNET_WEIGHTS, {"format": "pt"})
    assert "conv_in.weight" in refused(lambda: DiffusionTeacher.load(copied))
    content = (copied / UNET_WEIGHTS).read_bytes()
    (copied / UNET_WEIGHTS).write_bytes(content[: len(content) // 2])
    assert "unet" in refused(lambda: DiffusionTeacher.load(copied))
    (copied / "vae/config.json").write_text("{")
    assert "vae" in refused(lambda: DiffusionTeacher.load(copied))


@pytest.mark.parametrize(("key", "value"), [("in_channels", 9), ("addition_embed_type", "text_time")])
def test_refuses_other_kinds_of_diffusion_models(copied: Path, key: str, value: object) -> None:
    config = json.loads((copied / "unet/config.json").read_text())
    (copied / "unet/config.json").write_text(json.dumps({**config, key: value}))
    assert "text" in refused(lambda: DiffusionTeacher.load(copied))


def test_hub_out_of_reach_is_one_sentence(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Ask a closed port of this machine for a repository; no network is touched."""
    code = (
        "from querydiff_core.errors import QueryDiffError\n"
        "from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher\n"
        "try: DiffusionTeacher.load('some/teacher')\n"
        "except QueryDiffError as error: print(error)"
    )
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "some/teacher" in done.stdout
    assert "Hugging Face hub" in done.stdout
    assert len(done.stdout.strip().splitlines()) == 1
