"""The whole method learns: a tiny student with a tiny teacher labels what it has seen."""

import csv

import pytest
import yaml
from teachers import write_tiny_teacher

from querydiff_core.cli.main import main
from querydiff_core.street_scenes import render_scene
from querydiff_core.utils.image_files import write_image

# Seeds of street scenes, and the corner (top, left) of a window of 64 x 128 pixels in which nothing is thinner than a
# cell of the student's masks (4 x 4 pixels), which no training could label.
WINDOWS = {9: (228, 192), 13: (132, 832), 20: (324, 512), 22: (196, 64)}


@pytest.mark.timeout(900)
def test_overfits_four_street_scenes(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for seed, (top, left) in WINDOWS.items():
        scene = render_scene(seed, (512, 1024), groups=())
        window = slice(top, top + 64), slice(left, left + 128)
        write_image(tmp_path / "scenes" / "images" / f"{seed}.png", scene.image[window].copy())
        write_image(tmp_path / "scenes" / "labels" / f"{seed}.png", scene.labels[window].copy())
    experiment = {
        "model": {
            "variant": "tiny",
            "learning_rate": 4e-3,
            "backbone_learning_rate": None,
            "warm_up": 20,
            "teacher": {"source": str(write_tiny_teacher(tmp_path / "teacher"))},
        },
        "data": {
            "train": [{"root": "scenes"}],
            "validation": {"scenes": {"root": "scenes"}},
            "crop": [64, 128],
            "short_side": None,
            "scale": [1.0, 1.0],
            "photometric": 0.0,
            "batch_size": 4,
            "workers": 0,
        },
        "pictures": {"images": 0},
        "trainer": {
            "accelerator": "cpu",
            "precision": "32-true",
            "max_steps": 150,
            "val_check_interval": 150,
            "log_every_n_steps": 5,
            "enable_progress_bar": False,
            "logger": {
                "class_path": "lightning.pytorch.loggers.CSVLogger",
                "init_args": {"save_dir": ".", "name": None, "version": "run"},
            },
        },
    }
    (tmp_path / "overfit.yaml").write_text(yaml.safe_dump(experiment))
    with pytest.raises(SystemExit) as stop:
        main(["fit", "--config", "overfit.yaml"])
    assert stop.value.code == 0
    rows = list(csv.DictReader((tmp_path / "run" / "metrics.csv").open()))
    assert float([row["miou/scenes"] for row in rows if row["miou/scenes"]][-1]) >= 0.85
    taught = [float(row["train/dist"]) for row in rows if row["train/dist"]]
    assert (
        taught[-1] < taught[0]
    )  # as far as a teacher with random weights, which sees noise as it sees things, lets it
