"""Linear probes of features that are known, of a control teacher, and the gate between teacher and student."""

import re

import numpy as np
import pytest
import torch
from students import write_student
from teachers import write_tiny_teacher

from querydiff_core.cli import teacher as teacher_command
from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping
from querydiff_core.models.build import build_model
from querydiff_core.teacher.control_teacher import ControlTeacher
from querydiff_core.teacher.linear_probe import labelled_cells, probe
from querydiff_core.teacher.teacher_probe import backbone_maps, teacher_maps
from querydiff_core.utils.image_files import write_image

LITE = "control:tf_efficientnet_lite0"
SIZE = (64, 128)


@pytest.fixture(scope="module")
def streets(tmp_path_factory):
    """Write images whose 16 x 16 cells are of class 0 (dark), 2 (bright) or unlabelled, and as much noise."""
    root, draw = tmp_path_factory.mktemp("streets"), np.random.default_rng(0)
    for index in range(6):
        cells = draw.choice([0, 2, 255], (4, 8))
        labels = cells.repeat(16, 0).repeat(16, 1).astype(np.uint8)
        image = np.where(labels == 0, 60, 190)[..., None] + draw.normal(0, 10, (*SIZE, 3))
        write_image(root / "images" / f"{index}.png", image.clip(0, 255).astype(np.uint8))
        write_image(root / "labels" / f"{index}.png", labels)
    return root


def pairs_of(root):
    return LabelledFolder(root / "images", str(root / "labels"), label_mapping("train_ids"))


def test_cells_are_labelled_by_most_of_their_pixels(streets):
    images, labels = labelled_cells(pairs_of(streets), SIZE)
    assert images[0].shape == (1, 3, *SIZE)
    assert set(torch.cat(labels).tolist()) == {0, 2, 255}
    written = pairs_of(streets)[3].labels[8::16, 8::16]
    assert labels[3].tolist() == written.flatten().tolist()


def test_a_probe_finds_what_is_in_the_features_and_nothing_else(streets):
    images, labels = labelled_cells(pairs_of(streets), SIZE)
    seen = probe(lambda image: [image[:, :, ::4, ::4]], images, labels)
    assert seen.right == seen.miou == 1
    assert seen.cells == sum(int((each != 255).sum()) for each in labels[3:])
    torch.manual_seed(0)
    blind = probe(lambda image: [torch.randn(1, 3, 4, 8)], images, labels)
    assert blind.right < 0.75
    assert blind.miou < 0.6


def test_data_that_a_probe_cannot_use_is_refused(streets, tmp_path):
    with pytest.raises(QueryDiffError, match="has no labels"):
        labelled_cells(LabelledFolder(streets / "images", None, label_mapping("train_ids")), SIZE)
    for name in ("images", "labels"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "0.png").write_bytes((streets / name / "0.png").read_bytes())
    with pytest.raises(QueryDiffError, match="one image"):
        labelled_cells(pairs_of(tmp_path), SIZE)


def test_the_control_teacher_sees_the_clean_image_and_the_noised_one():
    torch.manual_seed(0)
    teacher = ControlTeacher.load(LITE, strong_timestep=400)
    images, noise = torch.rand(2, 3, *SIZE), torch.randn(2, 3, *SIZE)
    features = teacher(images, noise)
    assert teacher.channels == (112, 320)
    assert features.sizes == [(4, 8), (2, 4)]
    clean, noised = (teacher.network(each) for each in (2 * images - 1, _noised(2 * images - 1, noise, 400)))
    for found, expected in ((features.weak, clean), (features.strong, noised)):
        for tokens, maps in zip(found, expected, strict=True):
            normed = torch.nn.functional.layer_norm(maps.flatten(2).mT, maps.shape[1:2])
            torch.testing.assert_close(tokens, normed, atol=2e-4, rtol=1e-3)
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
    assert not teacher.train().network.training
    with pytest.raises(QueryDiffError, match=r"one of control:tf_efficientnet_lite0.*found control:resnet50"):
        ControlTeacher.load("control:resnet50")
    with pytest.raises(QueryDiffError, match="0 <= weak <= strong <= 999"):
        ControlTeacher.load(LITE, 200, 100)


def _noised(x_0, noise, timestep):
    """Return Eq. 1 with Stable Diffusion's betas, whose square roots lie evenly between those of 0.00085 and 0.012."""
    abar = float(np.prod(1 - np.linspace(0.00085**0.5, 0.012**0.5, 1000)[: timestep + 1] ** 2))
    return abar**0.5 * x_0 + (1 - abar) ** 0.5 * noise


def test_a_probe_leaves_the_backbones_modes_as_they_were():
    backbone = build_model("tiny").backbone.train()
    frozen = [module for module in backbone.modules() if isinstance(module, torch.nn.BatchNorm2d)]
    for module in frozen:
        module.eval()
    backbone_maps(backbone)(torch.rand(1, 3, 64, 64))
    assert backbone.training
    assert frozen
    assert not any(module.training for module in frozen)


def test_its_probe_beats_random_weights(streets):
    images, labels = labelled_cells(pairs_of(streets), SIZE)
    torch.manual_seed(0)
    teacher, random = ControlTeacher.load(LITE), ControlTeacher.load(LITE, pretrained=False)
    right, guessed = (probe(teacher_maps(each), images, labels).right for each in (teacher, random))
    assert right > guessed + 0.1  # 59 cells: a number of threads more moves it by some of them
    weak, again = (teacher_maps(teacher, strong=True)(images[0]) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(weak, again, strict=True))


def test_the_command_shows_both_and_keeps_the_gate(streets, tmp_path, capsys):
    teacher, student = write_tiny_teacher(tmp_path / "teacher"), write_student(tmp_path / "tiny.safetensors")
    command = ["probe", str(teacher), "--data", f"folder={streets}", "--student", str(student), "--size", "64x128"]
    assert teacher_command.main([*command, "--force"]) == 0
    rows = re.findall(r"(\d+\.\d) +(\d+\.\d)", capsys.readouterr().out)
    assert len(rows) == 4  # weak, strong, random, student
    below = float(rows[0][1]) <= float(rows[3][1])
    if below:
        with pytest.raises(QueryDiffError, match=rf"{rows[0][1]} mIoU, .* {rows[3][1]}\. .*--force"):
            teacher_command.main(command)
    else:
        assert teacher_command.main(command) == 0
    with pytest.raises(QueryDiffError, match="multiples of 64"):
        teacher_command.main([*command[:-1], "48x128"])
