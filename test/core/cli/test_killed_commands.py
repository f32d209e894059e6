"""Commands killed at random moments: what they had finished is whole, and the same command then does its work.

`KILLS=13 pytest test/core/cli/test_killed_commands.py` kills each command so often, and all others that write.
"""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from engines import expected_labels, write_pixel_engine
from students import TRAINED

from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.utils.image_files import read_image, write_image
from querydiff_ros.bags.bag_reader import BagReader

KILLS = int(os.environ.get("KILLS", "1"))
COMMANDS = ["scenes", "evaluate"]
if "KILLS" in os.environ:
    COMMANDS += ["export", "fit", "record-drive", "evaluate-bag"]


def start(arguments, folder):
    command = [sys.executable, "-m", "querydiff_core", *map(str, arguments)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (folder / "log").open("w") as log:
        return subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)


def finish(arguments, folder):
    code = start(arguments, folder).wait()
    assert code == 0, (folder / "log").read_text()


def labelled(root):
    for index in range(4):
        image = np.random.default_rng(index).integers(0, 256, (64, 96, 3), np.uint8)
        write_image(root / "images" / f"{index}.png", image)
        write_image(root / "labels" / f"{index}.png", expected_labels(image))
    return root


def experiment(data):
    return {
        "seed_everything": 1,
        "model": {"variant": "tiny", "warm_up": 1},
        "data": {"train": [{"root": str(data)}], "validation": {"x": {"root": str(data)}}, "crop": [64, 64]}
        | {"short_side": None, "batch_size": 2, "workers": 0},
        "student": {"input_size": [64, 96]},
        "checkpoint": {"every_n_train_steps": 1},
        "trainer": {"accelerator": "cpu", "precision": "32-true", "max_steps": 6, "val_check_interval": 2},
    }


def arguments_of(command, inputs):
    """Return the words of a command that writes below the folder it is started in."""
    if command == "scenes":
        return ["scenes", "images", "--output", "out", "--count", "4", "--image-size", "64x96", "--workers", "1"]
    if command == "evaluate":
        engine = write_pixel_engine(inputs / "pixel.onnx", work=256)
        return ["evaluate", engine, "--images", labelled(inputs / "data"), "--output", "out/r.json"]
    if command == "record-drive":
        return ["record-drive", labelled(inputs / "data"), "out/drive"]
    if command == "evaluate-bag":
        finish(["record-drive", labelled(inputs / "data"), "drive"], inputs)
        engine = write_pixel_engine(inputs / "pixel.onnx", work=256)
        return ["evaluate-bag", inputs / "drive", "--model", engine, "--output", "out/r.json"]
    if command == "export":
        return ["export", TRAINED, "--output", "out/a.onnx", "--size", "64x128"]
    config = inputs / "e.yaml"
    config.write_text(yaml.safe_dump(experiment(labelled(inputs / "data"))))
    return ["fit", "--config", config]


def check_whole(folder):
    """Read all that can be seen; hidden files are what a killed process left."""
    for file in sorted(path for path in folder.rglob("*") if path.is_file()):
        if any(part.startswith(".") for part in file.relative_to(folder).parts):
            continue
        if file.suffix in (".jpg", ".png"):
            read_image(file)
        elif file.name == "r.json":
            assert Result.load(file).images == 4
        elif file.suffix in (".onnx", ".safetensors"):
            Segmenter.load(file, device="cpu", threads=1)
        elif file.suffix == ".mcap":
            assert sum(topic.count for topic in BagReader(file.parent).topics.values()) >= 8
        elif file.suffix == ".ckpt":
            assert torch.load(file, map_location="cpu", weights_only=True)["state_dict"]


def finished(command, folder):
    """Return what the command makes, in a form that can be compared."""
    if command == "scenes":
        return [(pair.stem, pair.image.tobytes(), pair.labels.tobytes()) for pair in LabelledFolder(folder / "out")]
    if command == "record-drive":
        return {file.name: file.read_bytes() for file in (folder / "out/drive").iterdir()}
    if command in ("evaluate", "evaluate-bag"):
        return Result.load(folder / "out/r.json").to_json()
    if command == "export":
        return Segmenter.load(folder / "out/a.onnx", threads=1)(np.zeros((64, 128, 3), np.uint8)).labels.tobytes()
    (last,) = sorted(folder.rglob("last*.ckpt"))[-1:]
    return torch.load(last, weights_only=True)["global_step"]


def again(command, arguments, folder):
    """Return the words that go on after a kill: a run of training with a state resumes it."""
    return [*arguments, "--resume", "last"] if command == "fit" and list(folder.rglob("*.ckpt")) else arguments


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.timeout(0 if "KILLS" in os.environ else 300)
def test_a_killed_command_leaves_whole_files_and_can_be_given_again(command, tmp_path):
    inputs = tmp_path / "inputs"
    inputs.mkdir()
    arguments, undisturbed = arguments_of(command, inputs), tmp_path / "undisturbed"
    undisturbed.mkdir()
    begin = time.monotonic()
    finish(arguments, undisturbed)
    seconds, expected = time.monotonic() - begin, finished(command, undisturbed)
    moments = random.Random(command)
    for number in range(KILLS):
        folder = Path(tmp_path, str(number))
        folder.mkdir()
        process = start(arguments, folder)
        try:
            process.wait(timeout=seconds * moments.uniform(0.3, 1.05))
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        check_whole(folder)
        if not (folder / "out/drive").exists():  # a bag that is finished is not written over
            finish(again(command, arguments, folder), folder)
        check_whole(folder)
        assert finished(command, folder) == expected
