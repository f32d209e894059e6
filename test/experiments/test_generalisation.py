"""The study through its command, in miniature: interrupted and resumed, changed, diverging, without real images."""

import csv
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from paths import REPOSITORY

STUDY = REPOSITORY / "experiments" / "generalisation"
MINIATURE = {
    "seeds": 1,
    "steps": 2,
    "start-steps": 30,
    "scenes": 4,
    "targets": 1,
    "autoencoder-steps": 1,
    "denoiser-steps": 1,
    "batch": 1,
    "teacher-crop": "64x64",
    "student": "tiny",
    "image-size": "64x128",
    "crop": "64x64",
    "conditions": "clear,night",
}
ONLY = ("--only", "full,tokens,augmentation")
FULL = tuple(f"full QueryDiff, {teacher}" for teacher in ("control", "streets features", "streets"))
TAUGHT = (*FULL, "tokens, control", "diffusion augmentation, streets")
VARIANTS = ("plain", "agent queries", FULL[0], "tokens", "tokens, control", *FULL[1:], TAUGHT[-1])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


def begin(folder: Path, *flags: str) -> subprocess.Popen:
    settings = [word for name, value in MINIATURE.items() for word in (f"--{name}", str(value))]
    places = ["--folder", folder / "runs", "--document", folder / "page.md"]
    folders = ("camvid", "bdd100k", "cityscapes", "real-images")
    missing = [word for name in folders for word in (f"--{name}", folder / "none")]
    command = [sys.executable, str(STUDY / "run.py"), "--random-start", *settings, *map(str, places + missing), *flags]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def end(process: subprocess.Popen) -> str:
    output, _ = process.communicate(timeout=240)
    return output


def finish(folder: Path, *flags: str) -> str:
    process = begin(folder, *flags)
    output = end(process)
    assert process.returncode == 0, output
    return output


def log(folder: Path, step: str) -> str:
    file = folder / "runs" / step / "log.txt"
    return file.read_text() if file.exists() else ""


def stamps(folder: Path) -> dict[str, int]:
    records = {file.parent.name: file for file in (folder / "runs").glob("*/step.json")}
    done = {name: file for name, file in records.items() if json.loads(file.read_text())["state"] == "finished"}
    return {name: file.stat().st_mtime_ns for name, file in done.items()}


def check_page(folder: Path) -> None:
    page = (folder / "page.md").read_text()
    assert "Left out, as there was no folder: camvid, bdd100k, cityscapes." in page
    assert "No folder of real road images" in page
    table = page.split("## mIoU by domain")[1].split("##")[0]
    assert "| variant | seeds | clear | night | other generated |" in table
    scored = re.findall(r"^\| ([^|]+) \| 1 \|(?: \d+\.\d \|){3}$", table, re.MULTILINE)
    assert scored == list(VARIANTS)
    assert re.search(r"The teacher `streets` painted \d+ images in \d+ s; distillation took \d+ s\.", page)
    differences = page.split("## Paired differences to agent queries")[1].split("##")[0]
    assert "| variant | clear | other generated | other generated, by the teacher | CPU of a run, s |" in differences
    for variant in VARIANTS:  # each with what its teacher gave and what a run costs
        row = re.search(rf"\| {re.escape(variant)} \|.*\| (.*) \| \d+ \|\n", differences)
        assert row, variant
        assert bool(row[1].strip()) == (variant in TAUGHT), variant
    rows = list(csv.DictReader((folder / "page.csv").open()))
    assert [row["variant"] for row in rows] == [v for v in VARIANTS for _ in ("clear", "night", "other generated")]
    assert all(float(row["miou"]) >= 0 and row["deviation"] == "" for row in rows)  # one seed
    for name in ("gain.png", "panels.jpg", "similarity.jpg"):
        assert (folder / "images" / f"page_{name}").stat().st_size > 1000


@pytest.mark.timeout(900)
def test_an_interrupted_study_goes_on_and_what_diverges_is_reported(folder):
    process = begin(folder, *ONLY)
    deadline = time.monotonic() + 120
    while "steps        0 to 30" not in log(folder, "start") and process.poll() is None:
        assert time.monotonic() < deadline, "the common start did not begin"
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    output = end(process)
    assert process.returncode == 130, output
    assert "the same command goes on" in output
    kept = stamps(folder)
    assert {"scenes_source", "scenes_shown"} <= kept.keys()
    assert "start" not in kept

    finish(folder, *ONLY)
    assert "--resume last" in log(folder, "start")
    now = stamps(folder)
    assert kept == {name: now[name] for name in kept}
    assert ": backbone.reins, agent_queries, refinements, mask_decoder\n" in log(folder, "tokens_control_0")
    assert ": agent_queries, refinements, mask_decoder\n" in log(folder, "full_querydiff_streets_0")
    check_page(folder)

    assert "0 are left" in finish(folder, *ONLY)
    assert stamps(folder) == now

    # At other settings the runs are done again, and what they need is kept.
    finish(folder, "--rate", "1e30", "--only", "augmentation")
    after = stamps(folder)
    assert {name for name in now if after.get(name) == now[name]} >= {"scenes_source", "start"}
    page = (folder / "page.md").read_text()
    assert "**Diverged: plain, seed 0.** The loss is not finite at step 1" in page
    assert "**Left out: diffusion augmentation, streets, seed 0.**" in page
    assert "No run has been scored yet." in page


def test_the_interval_is_students(monkeypatch):
    monkeypatch.syspath_prepend(str(STUDY))
    from scores import half_interval, mean, spread

    points = np.array([[1.0, 4.0], [2.0, np.nan], [3.0, np.nan]])
    np.testing.assert_allclose(mean(points), [2.0, 4.0])
    np.testing.assert_allclose(spread(points), [1.0, np.nan])
    np.testing.assert_allclose(half_interval(points)[0], 4.302653 / 3**0.5, rtol=1e-5)
    assert np.isnan(half_interval(points)[1])


def test_only_some_variants_and_those_that_they_are_compared_with(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(STUDY))
    from plan import Plan
    from variants import Settings

    settings = Settings(tmp_path, idd=tmp_path, only=("features", "Rein"))
    plan = Plan(settings)
    names = [variant.name for variant in plan.variants]
    assert names == [
        "plain",
        "agent queries",
        *(f"full QueryDiff, {each} features" for each in ("idd", "streets")),
        "Rein",
    ]
    assert len([step for step in plan.steps if step.stage == "runs"]) == 5 * settings.seeds
    assert {step.name for step in plan.steps if step.stage == "teachers"} == {
        "teacher_idd_features",
        "teacher_streets_features",
    }
    assert not any(step.stage == "augmentation" for step in plan.steps)


def test_a_step_that_an_older_study_recorded_stays_done(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(str(STUDY))
    from plan import Plan
    from variants import Settings

    step = Plan(Settings(tmp_path)).start
    step.folder.mkdir()
    record = {"settings": step.settings, "state": "finished", "cpu_seconds": 7.0, "facts": {"earlier": "2 h"}}
    (step.folder / "step.json").write_text(json.dumps(record))
    assert step.record().done
    assert step.record().cpu_seconds == 7.0


def test_a_word_of_no_variant_is_refused(folder):
    process = begin(folder, "--only", "ful QueryDiff")
    assert "--only: no variant has 'ful QueryDiff' in its name; the variants are plain, agent queries" in end(process)
    assert process.returncode == 1
