"""`querydiff benchmark` through the real command, with engines whose output is known."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import psutil
import pytest
from engines import PIXEL_METADATA, expected_labels, write_pixel_engine
from students import write_student

from querydiff_core.benchmark.engine_process import EngineFacts
from querydiff_core.benchmark.engine_times import EngineTimes
from querydiff_core.cli.benchmark import main
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.build_target import EngineBuild


def command(*arguments):
    return [sys.executable, "-m", "querydiff_core", "benchmark", *map(str, arguments)]


def benchmark(*arguments):
    environment = {**os.environ, "COLUMNS": "110"}
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, env=environment)


@pytest.fixture(scope="module")
def engines(tmp_path_factory):
    folder = tmp_path_factory.mktemp("engines")
    return write_pixel_engine(folder / "fast.onnx"), write_pixel_engine(folder / "slow.onnx", work=384)


def test_compares_engines_in_one_run(tmp_path, engines):
    result = benchmark(
        *engines, "--against", engines[0], "--camera", "96x160", "--batch", 2, "--seconds", 0.1, "--threads", 1,
        "--json", tmp_path / "r.json", "--plot", tmp_path / "r.png",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "100.00%" in result.stdout
    written = json.loads((tmp_path / "r.json").read_text())
    assert written["camera"] == [96, 160]
    fast, slow = written["engines"]  # --against names one of them, which is not measured twice
    assert [fast["name"], slow["name"]] == [str(engine) for engine in engines]
    assert fast["labels_equal"] == slow["labels_equal"] == 1.0
    assert fast["latency_ms"]["p50"] < slow["latency_ms"]["p50"]
    assert len(fast["seconds"]) == len(slow["seconds"]) >= 3
    assert fast["peak_memory_bytes"] > 1e7
    assert (fast["network"], fast["batch"], fast["engine"]) == ([64, 128], 2, "onnxruntime")
    assert cv2.imread(str(tmp_path / "r.png")).shape == (700, 1200, 3)


def scored_folder(folder, wrong_rows=0):
    """Write images whose labels the pixel engine gives, but for some rows."""
    for name, seed in (("a", 0), ("b", 1)):
        image = np.random.default_rng(seed).integers(0, 256, (64, 128, 3), np.uint8)
        labels = expected_labels(image)
        labels[:wrong_rows] = (labels[:wrong_rows] + 1) % 19
        for kind, pixels in (("images", image[..., ::-1]), ("labels", labels)):
            (folder / kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(folder / kind / f"{name}.png"), pixels)
    return folder


def test_miou_stands_beside_the_milliseconds(tmp_path, engines):
    right, half = scored_folder(tmp_path / "right"), scored_folder(tmp_path / "half", wrong_rows=32)
    result = benchmark(
        *engines, "--camera", "64x128", "--seconds", 0.1, "--threads", 1, "--json", tmp_path / "r.json",
        "--data", f"right=folder={right}", "--data", f"half=folder={half}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert result.stdout.count("100.0") == len(engines)
    for row in json.loads((tmp_path / "r.json").read_text())["engines"]:
        assert row["miou"]["right"] == 1
        assert row["miou"]["half"] == pytest.approx(1 / 3, abs=0.03)  # half of each class, and as many false alarms


def test_an_image_that_cannot_be_scored_costs_no_numbers(tmp_path, engines):
    folder = scored_folder(tmp_path / "right")
    next((folder / "images").iterdir()).write_bytes(b"no image")
    result = benchmark(
        engines[0], "--camera", "64x128", "--seconds", 0.1, "--threads", 1, "--json", tmp_path / "r.json",
        "--data", f"right=folder={folder}",
    )  # fmt: skip
    assert result.returncode == 1
    assert "error: " in result.stderr
    assert "Traceback" not in result.stderr
    (row,) = json.loads((tmp_path / "r.json").read_text())["engines"]
    assert row["latency_ms"]["p50"] > 0
    assert row["miou"] == {}


def test_one_checkpoint_is_measured_at_several_sizes(tmp_path):
    folder = scored_folder(tmp_path / "right")
    result = benchmark(
        write_student(tmp_path / "tiny.safetensors"), "--sizes", "32x64,32x64", "--camera", "64x128",
        "--seconds", 0.1, "--threads", 1, "--json", tmp_path / "r.json", "--data", f"right=folder={folder}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    (row,) = json.loads((tmp_path / "r.json").read_text())["engines"]
    assert (Path(row["name"]).name, row["network"], row["engine"]) == ("tiny_32x64.onnx", [32, 64], "onnxruntime")
    assert 0 <= row["miou"]["right"] < 0.2  # noise is no street
    assert "tiny_32x64.onnx" in result.stdout
    assert not Path(row["name"]).exists()


def begin_measuring(*arguments):
    """Start a benchmark without an end and return it once every engine was called."""
    words = command(*arguments, "--camera", "64x128", "--seconds", 3000)
    process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert "opening" in process.stderr.readline()
    while "measuring" not in process.stderr.readline():
        assert process.poll() is None
    return process


def test_ctrl_c_shows_what_was_measured(tmp_path, engines):
    process = begin_measuring(engines[0], "--json", tmp_path / "r.json")
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert "fast.onnx" in output.replace("\n", "")
    assert json.loads((tmp_path / "r.json").read_text())["engines"][0]["seconds"]


def test_an_engine_that_dies_costs_no_numbers(tmp_path, engines):
    process = begin_measuring(*engines, "--json", tmp_path / "r.json")
    *_, slow = psutil.Process(process.pid).children()
    slow.kill()
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"error: The process of {engines[1]} ended with exit code -9" in errors
    assert "Traceback" not in errors
    assert "fast.onnx" in output.replace("\n", "")
    fast, slow = json.loads((tmp_path / "r.json").read_text())["engines"]
    assert min(len(fast["seconds"]), len(slow["seconds"])) >= 1
    assert fast["peak_memory_bytes"] > 1e7
    assert slow["peak_memory_bytes"] is None


def test_an_engine_for_one_camera_is_called_with_that_alone(tmp_path, capsys):
    built = dataclasses.replace(PIXEL_METADATA, build=EngineBuild("onnx", camera=(96, 160)))
    engine, report = write_pixel_engine(tmp_path / "camera.onnx", metadata=built), tmp_path / "r.json"
    assert main([str(engine), "--camera", "96x160", "--seconds", "0.1", "--threads", "1", "--json", str(report)]) == 0
    (row,) = json.loads(report.read_text())["engines"]
    assert len(row["seconds"]) >= 3
    assert (row["camera"], row["network"]) == ([96, 160], [64, 128])
    assert row["network_ms"] is row["resizing_ms"] is None
    assert capsys.readouterr().out.count(" -│") == 3  # and no reference for labels


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["missing.onnx"], "No model file"),
        (["{fast}", "--batch", "0"], "--batch must be 1 to 64"),
        (["{fast}", "--seconds", "-1"], "--seconds must be more than 0"),
        (["{fast}", "--plot", "latencies.pdf"], "--plot must end in"),
        (["{fast}", "--size", "256x512"], "built for a network input of 64x128"),
        (["{fast}", "--against", "missing.safetensors"], "No model file"),
        (["{fast}", "--sizes", "64x128"], r"--sizes exports one checkpoint .* found .*fast\.onnx"),
        (["a.safetensors", "b.safetensors", "--sizes", "64x128"], "--sizes exports one checkpoint"),
        (["a.safetensors", "--sizes", "64x128", "--size", "64x128"], "give one of them"),
        (["missing.safetensors", "--sizes", "64x128"], "No checkpoint"),
        (["{fast}", "--data", "camvid=missing"], "missing"),
    ],
)
def test_what_a_user_gets_wrong_is_one_sentence(engines, arguments, says):
    with pytest.raises(QueryDiffError, match=says) as failure:
        main([argument.format(fast=engines[0]) for argument in arguments])
    assert "\n" not in str(failure.value)


def test_times_are_summed_up():
    facts = EngineFacts("onnxruntime", "cpu", "pixel", (64, 128), 0.5)
    ours = EngineTimes("ours", facts, batch=2, total=[0.02, 0.01, 0.04], network=[0.01, 0.01, 0.02])
    theirs = EngineTimes("theirs", facts, total=[0.06, 0.02, 0.04], network=[0.01] * 3)
    assert ours.latency(50) == pytest.approx(20)
    assert ours.images_per_second == pytest.approx(100)
    assert ours.resizing == pytest.approx(10)
    assert ours.speed(theirs) == pytest.approx(2)
    assert ours.as_json()["load_seconds"] == 0.5
