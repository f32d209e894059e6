import subprocess
import sys

import numpy as np
import pytest
import torch
import yaml

from querydiff_core.data.datamodule import Folder, SegmentationData
from querydiff_core.data.street_scenes import render_scene
from querydiff_core.data.transforms import TrainingTransform
from querydiff_core.deployment.checkpoint import load_checkpoint
from querydiff_core.deployment.segmenter import Segmenter
from querydiff_core.errors import QueryDiffError
from querydiff_core.image_files import write_image
from querydiff_core.training.schedule import polynomial_decay


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    root = tmp_path_factory.mktemp("scenes")
    for seed in range(4):
        scene = render_scene(seed, (96, 128))
        write_image(root / "images" / f"{seed}.jpg", scene.image)
        write_image(root / "labels" / f"{seed}.png", scene.labels)
    return root


def test_crops_keep_image_and_labels_together():
    torch.manual_seed(0)
    labels = torch.randint(0, 19, (6, 8)).repeat_interleave(16, 0).repeat_interleave(16, 1).to(torch.uint8)
    image = labels.expand(3, -1, -1).clone()
    transform = TrainingTransform((64, 64), scale=(0.5, 1.5), photometric=0.0)
    seen = set()
    for _ in range(20):
        crop, crop_labels = transform(image, labels)
        assert crop.shape == (3, 64, 64)
        assert crop_labels.shape == (64, 64)
        assert crop.dtype == crop_labels.dtype == torch.uint8
        assert ((crop[0].int() - crop_labels.int()).abs() <= 1).float().mean() > 0.75  # borders blend in the image only
        seen.add(crop_labels.numpy().tobytes())
    assert len(seen) == 20


def test_the_photometric_distortion_leaves_labels_alone():
    image, labels = torch.full((3, 40, 40), 100, dtype=torch.uint8), torch.full((40, 40), 7, dtype=torch.uint8)
    crops = [TrainingTransform((32, 32))(image, labels) for _ in range(10)]
    assert all((crop_labels == 7).all() for _, crop_labels in crops)
    assert any((crop != 100).any() for crop, _ in crops)


def test_polynomial_decay_warms_up_and_ends_at_zero():
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=2.0)
    schedule = polynomial_decay(optimizer, steps=100, warm_up=10)
    rates = []
    for _ in range(101):
        rates.append(schedule.get_last_lr()[0])
        optimizer.step()
        schedule.step()
    assert rates[0] == pytest.approx(0.2)
    assert max(rates) == rates[10] == pytest.approx(2.0)
    assert rates[55] == pytest.approx(2.0 * 0.5**0.9)
    assert rates[100] == 0.0


def test_validation_images_can_be_resized_and_labels_stay(scenes):
    data = SegmentationData([Folder(str(scenes))], {"x": Folder(str(scenes), size=(48, 64))}, workers=0)
    images, labels = next(iter(data.val_dataloader()[0]))
    assert images.shape == (1, 3, 48, 64)
    assert labels.shape == (1, 96, 128)
    assert labels.dtype == torch.int64


def test_fewer_images_than_a_batch_are_refused(scenes):
    with pytest.raises(QueryDiffError, match="4 images"):
        SegmentationData([Folder(str(scenes))], batch_size=5).train_dataloader()


def configuration(scenes, runs, **model):
    return {
        "seed_everything": 1,
        "model": {"variant": "tiny", "warm_up": 2, **model},
        "data": {
            "train": [{"root": str(scenes)}],
            "validation": {"scenes": {"root": str(scenes)}},
            "crop": [64, 64],
            "batch_size": 2,
            "workers": 0,
        },
        "trainer": {
            "accelerator": "cpu",
            "max_steps": 4,
            "val_check_interval": 2,
            "check_val_every_n_epoch": None,
            "log_every_n_steps": 1,
            "num_sanity_val_steps": 0,
            "enable_progress_bar": False,
            "enable_model_summary": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": str(runs), "name": None, "version": "run"},
            },
            "callbacks": [
                {
                    "class_path": "querydiff_core.training.save_student.SaveStudent",
                    "init_args": {"input_size": [64, 96]},
                },
                {
                    "class_path": "lightning.pytorch.callbacks.ModelCheckpoint",
                    "init_args": {"dirpath": str(runs), "save_last": True, "every_n_train_steps": 2, "save_top_k": 0},
                },
            ],
        },
    }


def fit(config, tmp_path, *flags):
    file = tmp_path / "experiment.yaml"
    file.write_text(yaml.safe_dump(config))
    command = [sys.executable, "-m", "querydiff_core", "fit", "--config", str(file), *flags]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)


def test_fit_trains_both_phases_in_one_and_two_processes_resumes_and_writes_a_student(scenes, tmp_path):
    two = ("--trainer.devices=2", "--trainer.strategy=ddp")
    pixels = fit(configuration(scenes, tmp_path / "pixels", phase="pixels"), tmp_path, *two)
    assert pixels.returncode == 0, pixels.stderr
    start = str(tmp_path / "pixels" / "last.ckpt")
    whole = fit(configuration(scenes, tmp_path / "whole", phase="whole", start_from=start), tmp_path)
    assert whole.returncode == 0, whole.stderr

    student = tmp_path / "whole" / "run" / "student.safetensors"
    model, metadata = load_checkpoint(student)
    assert metadata.variant == model.variant == "tiny"
    assert metadata.input_size == (64, 96)
    assert metadata.recipe["steps"] == 4
    assert "miou/scenes" in metadata.recipe["metrics"]
    assert Segmenter.load(student, device="cpu")(np.zeros((10, 20, 3), np.uint8)).labels.shape == (10, 20)

    resumed = fit(
        configuration(scenes, tmp_path / "whole"),
        tmp_path,
        "--trainer.max_steps=6",
        f"--resume={tmp_path / 'whole' / 'last.ckpt'}",
        "--trainer.logger.version=resumed",
    )
    assert resumed.returncode == 0, resumed.stderr
    assert load_checkpoint(tmp_path / "whole" / "resumed" / "student.safetensors")[1].recipe["steps"] == 6


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"model": {"variant": "huge"}}, "huge"),
        ({"data": {"train": [{"root": "/nowhere"}]}}, "/nowhere"),
        ({"model": {"varaint": "tiny"}}, "varaint"),
    ],
)
def test_a_wrong_experiment_is_said_without_a_traceback(scenes, tmp_path, change, says):
    result = fit(configuration(scenes, tmp_path) | change, tmp_path)
    assert result.returncode != 0
    assert says in result.stderr
    assert "Traceback" not in result.stderr
