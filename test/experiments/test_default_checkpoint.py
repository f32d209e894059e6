"""The command that makes the shipped default, from scratch with few scenes and steps, and again."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from paths import REPOSITORY

from querydiff_core.inference.segmenter import Segmenter

FLAGS = ["--scenes", "4", "--scored", "6", "--pixel-steps", "1", "--steps", "1", "--seeds", "1"]


def make_default(folder: Path) -> subprocess.CompletedProcess:
    command = [sys.executable, REPOSITORY / "experiments/default_checkpoint.py", "--output", folder]
    command += ["--real", folder / "none", *FLAGS]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), env=environment, check=False, capture_output=True, text=True)


@pytest.mark.timeout(900)
def test_it_trains_exports_and_scores_and_keeps_what_is_there(tmp_path):
    made = make_default(tmp_path)
    assert made.returncode == 0, made.stderr
    assert "no camvid in" in made.stderr
    for model in ("small.safetensors", "small.onnx"):
        assert Segmenter.load(tmp_path / model, device="cpu").metadata.variant == "small"
    for result in (tmp_path / "runs/small_street_scenes_full/version_1/student.json", tmp_path / "small.json"):
        assert len(json.loads(result.read_text())["domains"]) == 6
    assert "temperature" in Segmenter.load(tmp_path / "small.safetensors", device="cpu").metadata.recipe["calibration"]
    states = sorted((tmp_path / "runs").rglob("*.ckpt"))
    before = [state.stat().st_mtime_ns for state in states]
    assert len(before) >= 2
    again = make_default(tmp_path)
    assert again.returncode == 0, again.stderr
    assert [state.stat().st_mtime_ns for state in states] == before
