"""`querydiff teacher` end to end, through the real command."""

import csv
import json
import os
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
from safetensors.torch import load_file, save_file

from querydiff_core.cli import teacher as teacher_command
from querydiff_core.cli.main import exit_cleanly
from querydiff_core.errors import QueryDiffError
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.latent_diffusion.image_crops import find_images, held_out_crops
from querydiff_core.teacher.latent_diffusion.memory_advice import memory_advice
from querydiff_core.utils.image_files import read_image, write_image

SMALLEST = [
    *("--width", "tiny", "--size", "64x64", "--batch", "2", "--autoencoder-steps", "3", "--denoiser-steps", "4"),
    *("--prediction", "v", "--device", "cpu", "--save-every", "2", "--samples", "0", "--workers", "0"),
]


def querydiff(capsys, *arguments):
    """Run the command in this process, as importing diffusers takes seconds; return exit code, output and errors."""
    with pytest.raises(SystemExit) as leaving:
        exit_cleanly(lambda: teacher_command.main([*map(str, arguments)]))
    return leaving.value.code, *capsys.readouterr()


def losses(folder):
    """Return the losses of the steps as they were written, without the judgements."""
    with (folder / "losses.csv").open() as file:
        return [tuple(row.values()) for row in csv.DictReader(file) if row["name"] == "loss"]


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
    arguments = ["train", images, "--output", folder, *SMALLEST, "--samples", 1, "--workers", 1]
    with redirect_stdout(StringIO()) as printed:
        assert teacher_command.main([*map(str, arguments)]) == 0
    return folder, printed.getvalue()


@pytest.fixture(scope="module")
def killed(images, tmp_path_factory):
    """Train like `teacher` but be killed when the first state has been written; return the folder."""
    folder = tmp_path_factory.mktemp("killed") / "teacher"
    code, _ = stop_after("autoencoder 2/3", signal.SIGKILL, ["train", images, "--output", folder, *SMALLEST])
    assert code == -signal.SIGKILL
    return folder


def stop_after(report, number, arguments):
    """Run the command until it prints a line that begins with `report`, send it the signal, and return how it ended."""
    process = subprocess.Popen(
        [Path(sys.executable).with_name("querydiff"), "teacher", *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert any(line.startswith(report) for line in process.stdout)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def test_a_run_writes_losses_pictures_and_nothing_unfinished(teacher):
    folder, printed = teacher
    assert sorted(entry.name for entry in folder.iterdir()) == [
        "losses.csv", "model_index.json", "pictures", "recipe.json", "scheduler", "text_encoder", "tokenizer", "unet",
        "vae"]  # fmt: skip
    assert [(stage, step) for stage, step, *_ in losses(folder)] == [
        *(("autoencoder", str(i)) for i in (1, 2, 3)), *(("denoiser", str(i)) for i in (1, 2, 3, 4))]  # fmt: skip
    assert read_image(folder / "pictures" / "reconstructions_000003.png").shape[0] == 2 * 64 + 4
    assert read_image(folder / "pictures" / "samples_000004.png").shape == (64, 64, 3)
    assert json.loads((folder / "recipe.json").read_text())["prediction"] == "v"
    assert "autoencoder 3/3: loss " in printed
    assert "held out psnr" in printed
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
    code, errors = stop_after("autoencoder 3/3", signal.SIGINT, arguments)
    assert code == 130
    assert "repeat the command to go on" in errors
    assert "Traceback" not in errors
    assert not (folder / "model_index.json").exists()

    code, output, _ = querydiff(capsys, *arguments)
    assert code == 0
    assert "goes on after step" in output
    assert losses(folder) == losses(teacher[0])
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
            ["--size", "96x128"],
            "--size must be multiples of 64 (8 pixels a latent cell, halved 3 times by the",
        ),
        ([images], ["--size", "96x80", "--downsampling", "4"], "--size must be multiples of 32"),
        ([images], ["--batch", "0"], "--batch must be 1 or more, found 0."),
        ([images], ["--denoiser-steps", "-1"], "--denoiser-steps must be 1 or more, found -1."),
        ([images], ["--learning-rate", "2"], "--learning-rate must be above 0 and below 1, found 2."),
        ([images], ["--seed", "-1"], "--seed must be 0 or more, found -1."),
        ([images], ["--workers", "-1"], "--workers must be 0 or more, found -1."),
        ([images], ["--save-every", "0"], "--save-every must be 1 or more, found 0."),
        ([images], ["--device", "cuda:99"], "--device cuda:99 is not there"),
        ([images], ["--device", "tpu"], "--device must be auto, cpu, cuda or cuda:N, found tpu."),
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
        for resume in ("--resume", "--no-resume"):
            code, _, errors = querydiff(capsys, "train", images, "--output", output, resume)
            assert code == 1
            assert sentence in errors
            assert errors.count("\n") == 1
    assert (tmp_path / "thesis.txt").read_text() == "years of work"


def test_an_unfinished_run_goes_on_as_it_began_or_not_at_all(killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    options = ["--output", folder, *SMALLEST]
    for sources, change, sentence in (
        (images, ["--seed", "5"], "holds an unfinished run with --seed 0, asked for 5: repeat its options"),
        (images, ["--size", "64x128"], "holds an unfinished run with --size 64x64, asked for 64x128"),
        (images / "drive_1", [], "holds an unfinished run on other images"),
    ):
        code, _, errors = querydiff(capsys, "train", sources, *options, *change)
        assert code == 1
        assert sentence in errors
        assert errors.count("\n") == 1
    code, _, _ = querydiff(capsys, "train", images / "drive_1", *options, "--denoiser-steps", 5, "--no-resume")
    assert code == 0
    assert [step for stage, step, *_ in losses(folder) if stage == "denoiser"] == ["1", "2", "3", "4", "5"]


def test_a_broken_loss_stops_the_run_and_keeps_the_last_state(killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    state = folder / "state" / "autoencoder.safetensors"
    tensors = load_file(state)
    save_file(tensors | {"weight.0": tensors["weight.0"] * float("nan")}, state, metadata={"step": "2"})
    broken = state.read_bytes()
    arguments = ["train", images, "--output", folder, *SMALLEST]
    code, _, errors = querydiff(capsys, *arguments)
    assert code == 1
    assert "loss is nan" in errors
    assert "at step 3: repeat the command with a lower --learning-rate" in errors
    assert state.read_bytes() == broken

    state.write_bytes(broken[:1000])
    code, _, errors = querydiff(capsys, *arguments)
    assert code == 1
    assert "cannot be read as the state of this training" in errors


def test_a_full_disk_stops_the_run_and_keeps_the_last_state(killed, images, tmp_path, capsys):
    folder = Path(shutil.copytree(killed, tmp_path / "teacher"))
    state = folder / "state" / "autoencoder.safetensors"
    before, limits = state.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(before) // 2, limits[1]))
    try:
        code, _, errors = querydiff(capsys, "train", images, "--output", folder, *SMALLEST)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 1
    assert "make room there and repeat the command" in errors
    assert errors.count("\n") == 1
    assert state.read_bytes() == before
    assert [entry.name for entry in state.parent.iterdir()] == [state.name]


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_running_out_of_memory_names_the_knob(error):
    sentence = "A step of 16 images needs more memory than there is: lower --batch"
    with pytest.raises(QueryDiffError, match=sentence), memory_advice("A step of 16 images"):
        raise error


def test_running_out_of_the_memory_of_the_machine_names_the_knob():
    with pytest.raises(QueryDiffError, match="lower --batch"), memory_advice("A step"):
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
