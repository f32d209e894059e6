"""`querydiff teacher` end to end, through the real command."""

import json
import os
import re
import resource
import shutil
import signal
import subprocess
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from safetensors.torch import load_file
from teachers import logged, querydiff

from querydiff_core.cli import teacher as teacher_command
from querydiff_core.cli.fit import in_one_sentence
from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.latent_diffusion.image_crops import find_images, held_out_crops
from querydiff_core.utils.image_files import read_image, write_image

SMALLEST = [
    *("--model.width", "tiny", "--model.autoencoder_steps", "5", "--model.denoiser_steps", "4"),
    *("--model.prediction", "v", "--data.crop", "[64,64]", "--data.batch_size", "2", "--data.workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.val_check_interval", "2", "--trainer.log_every_n_steps", "1"),
    *("--pictures.images", "0"),
]


@pytest.fixture(scope="module")
def images(tmp_path_factory):
    """Write 21 images of several sizes in nested folders, 2 of which are damaged."""
    root = tmp_path_factory.mktemp("images")
    draw = np.random.default_rng(0)
    for i in range(19):
        height, width = draw.integers(30, 150, 2)
        sky, road = draw.integers(0, 256, (2, 3))
        image = np.where(np.arange(height)[:, None, None] < height // 2, sky, road).repeat(width, 1).astype(np.uint8)
        write_image(root / f"drive_{i % 3}" / f"{i:02}.png", image)
    (root / "drive_0" / "damaged.jpg").write_bytes(b"\xff\xd8\xff no image")
    (root / "drive_1" / "empty.png").write_bytes(b"")
    (root / "drive_1" / "notes.txt").write_text("no image")
    return root


@pytest.fixture(scope="module")
def teacher(images, tmp_path_factory):
    """Train without interruption, with reading in a process of its own; return the folder and what was printed."""
    folder = tmp_path_factory.mktemp("run") / "teacher"
    arguments = ["train", images, "--output", folder, *SMALLEST, "--pictures.images", 1, "--data.workers", 1]
    with redirect_stdout(StringIO()) as printed:
        assert teacher_command.main([*map(str, arguments)]) == 0
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def killed(images, tmp_path_factory):
    """Train like `teacher` but be killed when the first state has been written; return the folder."""
    folder = tmp_path_factory.mktemp("killed") / "teacher"
    code, *_ = stop_after("step 3 of 5", signal.SIGKILL, ["train", images, "--output", folder, *SMALLEST])
    assert code == -signal.SIGKILL
    return folder


def stop_after(report, number, arguments):
    """Run the command until it prints a line that begins with `report`, send it the signal, and return how it ended.

    That is its exit code, what it printed from there on, and its errors.
    """
    process = subprocess.Popen(
        [Path(sys.executable).with_name("querydiff"), "teacher", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert any(line.startswith(report) for line in process.stdout)
    process.send_signal(number)
    output, errors = process.communicate(timeout=120)
    return process.returncode, output, errors


def test_a_run_writes_losses_pictures_and_nothing_unfinished(teacher):
    folder, printed = teacher
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "logs", "model_index.json", "pictures", "recipe.json", "scheduler", "text_encoder", "tokenizer", "unet",
        "vae"]  # fmt: skip
    assert sorted(logged(folder, "autoencoder", "train/loss")) == [0, 1, 2, 3, 4]
    assert sorted(logged(folder, "denoiser", "train/loss")) == [0, 1, 2, 3]
    assert sorted(logged(folder, "autoencoder", "held_out_psnr")) == [1, 3, 4]
    assert sorted(logged(folder, "denoiser", "held_out_loss")) == [1, 3]
    assert list((folder / "logs" / "denoiser" / "version_0").glob("events.out.tfevents.*"))
    assert read_image(folder / "pictures" / "reconstructions_000005.png").shape[0] == 2 * 64 + 3 * 4
    assert read_image(folder / "pictures" / "samples_000004.png").shape == (64, 64, 3)
    assert json.loads((folder / "recipe.json").read_text())["model"]["prediction"] == "v"
    assert re.search(r"^step 5 of 5, \d+:\d\d:\d\d left, \S+ steps/s: loss ", printed, re.MULTILINE)
    assert "validated at step 5: held_out_psnr " in printed
    assert "empty.png cannot be decoded and is left out" in printed
    assert "could not be decoded and were left out" in printed.splitlines()[-2]


def test_what_was_trained_is_a_teacher_with_the_default_features(teacher):
    loaded = DiffusionTeacher.load(teacher[0])
    assert loaded.multiple == 64
    assert loaded.channels == (96, 64)  # of the widths 32, 64, 96, 128 from the bottom up
    features = loaded(torch.rand(2, 3, 64, 128))
    assert features.sizes == [(2, 4), (4, 8)]
    assert all(torch.isfinite(map_).all() for map_ in (*features.weak, *features.strong))


def test_what_was_trained_is_a_stable_diffusion_to_diffusers(teacher):
    pipeline = StableDiffusionPipeline.from_pretrained(teacher[0])
    pipeline.set_progress_bar_config(disable=True)
    assert pipeline.scheduler.config.prediction_type == "v_prediction"
    picture = pipeline("", 64, 64, num_inference_steps=2, guidance_scale=1.0, output_type="np").images
    assert picture.shape == (1, 64, 64, 3)
    assert np.isfinite(picture).all()


def test_latents_have_a_standard_deviation_of_one(teacher, images):
    autoencoder = AutoencoderKL.from_pretrained(teacher[0] / "vae", low_cpu_mem_usage=False)
    crops = held_out_crops(find_images([images]).training[:4], (64, 64))
    latents = autoencoder.encode(crops / 127.5 - 1).latent_dist.sample(torch.Generator().manual_seed(1))
    assert float(latents.detach().std()) * autoencoder.config.scaling_factor == pytest.approx(1, abs=0.1)


def test_a_run_killed_and_stopped_goes_on_exactly(teacher, killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    arguments = ["train", images, "--output", folder, *SMALLEST]
    code, output, errors = stop_after("step 2 of 4", signal.SIGINT, arguments)  # where a validation is due
    assert code == 130
    assert "repeat the command to go on" in output
    assert "Traceback" not in errors
    assert not (folder / "model_index.json").exists()
    stopped = torch.load(folder / "state" / "denoiser" / "last.ckpt", weights_only=True)["global_step"]
    assert 1 <= stopped < 4

    code, output, _ = querydiff(capsys, *arguments)
    assert code == 0
    assert f"steps        {stopped} to 4" in output
    for stage, score in (("autoencoder", "held_out_psnr"), ("denoiser", "held_out_loss")):
        ours, theirs = (logged(run, stage, "train/loss") for run in (folder, teacher[0]))
        assert ours == theirs
        assert logged(folder, stage, score).items() <= logged(teacher[0], stage, score).items()
    for part in ("vae", "unet"):
        ours, theirs = (load_file(run / part / "diffusion_pytorch_model.safetensors") for run in (folder, teacher[0]))
        assert ours.keys() == theirs.keys()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_bad_options_give_one_sentence_and_write_nothing(images, tmp_path, capsys):
    empty, damaged, output = tmp_path / "empty", images / "drive_1" / "empty.png", tmp_path / "out"
    empty.mkdir()
    for sources, options, sentence in (
        ([tmp_path / "nowhere"], [], "nowhere: give images, or folders of them."),
        ([empty], [], "holds no image (.png, .jpg"),
        ([images / "drive_1" / "notes.txt"], [], "holds no image"),
        ([damaged], [], "None of the 1 images can be decoded"),
        (
            [images],
            ["--data.crop", "[96,128]"],
            "--data.crop must be multiples of 64 (8 pixels a latent cell, halved 3 times by the",
        ),
        ([images], ["--data.crop", "[96,80]", "--model.downsampling", "4"], "--data.crop must be multiples of 32"),
        ([images], ["--data.batch_size", "0"], "--data.batch_size must be 1 or more, found 0."),
        ([images], ["--model.denoiser_steps=-1"], "--model.denoiser_steps must be 1 or more, found -1."),
        ([images], ["--model.learning_rate", "2"], "--model.learning_rate must be above 0 and below 1, found 2."),
        ([images], ["--seed_everything=-1"], "--seed_everything must be 0 or more, found -1."),
        ([images], ["--data.workers=-1"], "--data.workers must be 0 or more, found -1."),
        ([images], ["--trainer.val_check_interval", "0"], "--trainer.val_check_interval must be 1 or more, found 0."),
        ([images], ["--pictures.images=-1"], "--pictures.images must be 0 or more, found -1."),
        ([images], ["--trainer.accelerator", "gpu", "--trainer.devices", "[99]"], "The run cannot begin"),
        ([images], ["--trainer.accelerator", "cpu", "--trainer.devices", "2"], "is trained on one device"),
    ):
        code, _, errors = querydiff(capsys, "train", *sources, "--output", output, *options)
        assert code == 1
        assert sentence in errors
        assert errors.count("\n") == 1
        assert not output.exists()


def test_a_folder_of_something_else_is_left_alone(teacher, images, tmp_path, capsys):
    (tmp_path / "thesis.txt").write_text("years of work")
    for output, sentence in (
        (tmp_path, "holds other things (thesis.txt)"),
        (tmp_path / "thesis.txt", "is a file: name a folder"),
        (tmp_path / "thesis.txt" / "teacher", "Cannot write"),
        (teacher[0], "holds a finished teacher"),
    ):
        for resume in ("last", "null"):
            code, _, errors = querydiff(capsys, "train", images, "--output", output, "--resume", resume)
            assert code == 1
            assert sentence in errors
            assert errors.count("\n") == 1
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_unfinished_run_goes_on_as_it_began_or_not_at_all(killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    options = ["--output", folder, *SMALLEST]
    for sources, change, sentence in (
        (
            images,
            ["--seed_everything", "5"],
            "holds an unfinished run with --seed_everything 0, asked for 5: repeat its options",
        ),
        (images, ["--data.crop", "[64,128]"], "holds an unfinished run with --data.crop [64, 64], asked for [64, 128]"),
        (images / "drive_1", [], "holds an unfinished run on other images: repeat its options"),
    ):
        code, _, errors = querydiff(capsys, "train", sources, *options, *change)
        assert code == 1
        assert sentence in errors
        assert errors.count("\n") == 1
    code, _, _ = querydiff(capsys, "train", images / "drive_1", *options, "--model.denoiser_steps", 5, "--resume=null")
    assert code == 0
    assert sorted(logged(folder, "denoiser", "train/loss")) == [0, 1, 2, 3, 4]


def test_a_broken_loss_stops_the_run_and_keeps_the_last_state(killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    state = folder / "state" / "autoencoder" / "last.ckpt"
    values = torch.load(state, weights_only=True)
    assert values["global_step"] == 2
    next(iter(values["current_model_state"].values()))[:] = float("nan")
    torch.save(values, state)
    broken = state.read_bytes()
    arguments = ["train", images, "--output", folder, *SMALLEST]
    code, _, errors = querydiff(capsys, *arguments)
    assert code == 1
    assert "The loss is not finite at step 2 (loss, l1, kl)" in errors
    assert (
        f"{state} and previous.ckpt beside it are kept. Repeat the command with a lower --model.learning_rate" in errors
    )
    assert state.read_bytes() == broken

    state.write_bytes(broken[:1000])
    code, _, errors = querydiff(capsys, *arguments)
    assert code == 1
    assert "last.ckpt cannot be read as a training state" in errors


def test_a_full_disk_stops_the_run_and_keeps_the_last_state(killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    state = folder / "state" / "autoencoder" / "last.ckpt"
    before, limits = state.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        code, _, errors = querydiff(capsys, "train", images, "--output", folder, *SMALLEST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert "last.ckpt" in errors
    assert "is the disk full? Older states are kept." in errors
    assert errors.count("\n") == 1
    assert state.read_bytes() == before
    assert [entry.name for entry in state.parent.iterdir()] == [state.name]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_running_out_of_memory_names_the_knob(error):
    sentence = "Memory ran out in training. The same command goes on with a lower --data.batch_size"
    with pytest.raises(QueryDiffError, match=sentence), in_one_sentence(teacher_command.MEMORY_ADVICE):
        raise error


def test_running_out_of_the_memory_of_the_machine_names_the_knob():
    sentence = "a lower --data.batch_size"
    with pytest.raises(QueryDiffError, match=sentence), in_one_sentence(teacher_command.MEMORY_ADVICE):
        torch.empty(2**60, dtype=torch.uint8)


def test_show_prints_parts_features_and_cost(teacher, capsys):
    code, output, _ = querydiff(capsys, "show", teacher[0], "--image-size", "128x256")
    assert code == 0
    assert "v_prediction prediction, 1000 timesteps; images of 128 x 256, sides must be multiples of 64" in output
    rows = {words[0]: words for words in map(str.split, output.splitlines()) if words}
    assert rows["up_blocks.1.resnets.2"] == ["up_blocks.1.resnets.2", "96", "4", "x", "8", "default"]
    assert rows["up_blocks.2.resnets.2"] == ["up_blocks.2.resnets.2", "64", "8", "x", "16", "default"]
    assert rows["up_blocks.3.attentions.0"] == ["up_blocks.3.attentions.0", "32", "16", "x", "32"]
    assert "teaching costs" in output


def test_show_says_what_is_wrong(teacher, tmp_path, capsys):
    for source, size, sentence in (
        (tmp_path, "512x512", "is not a Stable Diffusion"),
        (teacher[0], "100x128", "multiples of 64"),
    ):
        code, _, errors = querydiff(capsys, "show", source, "--image-size", size)
        assert code == 1
        assert sentence in errors
        assert errors.count("\n") == 1


def test_help_teaches_by_examples(capsys):
    for subcommand in ("train", "show"):
        code, output, _ = querydiff(capsys, subcommand, "--help")
        assert code == 0
        assert f"querydiff teacher {subcommand} " in output.partition("example")[2]
