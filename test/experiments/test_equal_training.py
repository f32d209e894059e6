"""The command that trains students equally, from scratch with few scenes and steps, and again."""

import os
import re
import subprocess
import sys

import pytest
from paths import REPOSITORY

from querydiff_core.street_scenes.scene_folder import SceneFolder


def compare(folder, real="real"):
    command = [sys.executable, REPOSITORY / "experiments/equal_training.py", folder / "real" / "bdd100k"]
    command += ["--real", folder / real, "--output", folder / "runs", "--pixel-steps", "1", "--steps", "1"]
    command += ["--seeds", "1", "--students", "lite1"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.run(list(map(str, command)), env=environment, check=False, capture_output=True, text=True)


@pytest.mark.timeout(600)
def test_a_student_is_trained_scored_and_kept(tmp_path):
    for _ in SceneFolder(tmp_path / "real" / "bdd100k", 4, (128, 256)).write():
        pass
    first = compare(tmp_path)
    assert first.returncode == 0, first.stderr
    header, _, *rows = first.stdout.splitlines()
    assert header == "| student | seeds | phase | bdd100k |"
    rows = [re.sub(r"\d+\.\d", "N", row) for row in rows]
    assert rows == ["| lite1 | 1 | pixel_head | N |", "| lite1 | 1 | full | N |"]
    assert "backbone: tf_efficientnet_lite1" in (tmp_path / "runs/lite1-1/full/config.yaml").read_text()
    made = {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.*")}
    assert len([file for file in made if file.name == "last.ckpt"]) == 2
    again = compare(tmp_path)
    assert again.stdout == first.stdout
    assert {file: file.stat().st_mtime_ns for file in (tmp_path / "runs").rglob("*.*")} == made


def test_without_a_real_set_nothing_is_trained(tmp_path):
    refused = compare(tmp_path, real="none")
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].endswith("has none of the real sets that students are scored on")
    assert not (tmp_path / "runs").exists()
