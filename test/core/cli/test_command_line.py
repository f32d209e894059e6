import argparse
import os
import signal
import subprocess
import sys
from dataclasses import fields
from importlib import import_module
from importlib.metadata import entry_points

import cv2
import numpy as np
import onnxruntime
import pytest
from engines import expected_labels, write_pixel_engine
from students import write_foreign_engine, write_student

from querydiff_core.cli import export
from querydiff_core.cli.engine_arguments import add_engine_arguments, engine_options
from querydiff_core.cli.segment import main as segment
from querydiff_core.errors import QueryDiffError
from querydiff_core.inference.engine import EngineOptions, default_checkpoint
from querydiff_core.inference.onnxruntime_engine import PROVIDERS
from querydiff_core.utils.image_files import read_image, write_image
from querydiff_core.utils.video import read_video, write_video


def querydiff(*arguments, **options):
    command = [sys.executable, "-m", "querydiff_core", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, **options)


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return write_pixel_engine(tmp_path_factory.mktemp("engine") / "pixel.onnx")


def test_help_lists_every_verb_with_a_summary():
    result = querydiff("--help")
    assert result.returncode == 0
    learning = ("data", "teacher", "fit", "export", "benchmark", "evaluate", "calibrate", "compare", "segment")
    driving = ("scenes", "replay", "record-drive", "evaluate-bag", "demo")
    for subcommand in (*learning, *driving):
        line = next(row for row in result.stdout.splitlines() if row.strip().startswith(subcommand))
        assert len(line.split()) > 2


def test_a_verb_that_does_not_exist_names_those_that_do():
    result = querydiff("segmnt")
    assert result.returncode == 2
    assert "segment" in result.stderr
    assert "Traceback" not in result.stderr


def test_segment_labels_images_and_videos(tmp_path, engine):
    image = np.random.default_rng(0).integers(0, 256, (33, 47, 3), np.uint8)
    write_image(tmp_path / "in" / "photo.png", image)
    write_video(tmp_path / "in" / "drive.mp4", (np.full((32, 48, 3), 20 * i, np.uint8) for i in range(5)), 10)
    write_image(tmp_path / "out" / "drive_labels" / "000005.png", image)  # of a longer video that had this name
    result = querydiff("segment", tmp_path / "in", "--model", engine, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    labels = cv2.imread(str(tmp_path / "out" / "photo_label.png"), cv2.IMREAD_UNCHANGED)
    assert np.array_equal(labels, expected_labels(image))
    assert read_image(tmp_path / "out" / "photo_overlay.jpg").shape == image.shape
    assert len(list((tmp_path / "out" / "drive_labels").glob("*.png"))) == 5
    _, frames = read_video(tmp_path / "out" / "drive_overlay.mp4")
    assert [frame.shape for frame in frames] == [(32, 48, 3)] * 5


def test_segment_replaces_an_engine_built_elsewhere_when_told_to(tmp_path, capsys):
    engine = write_foreign_engine(tmp_path / "car.engine", write_student(tmp_path / "tiny.safetensors"))
    write_image(tmp_path / "photo.png", np.zeros((64, 128, 3), np.uint8))
    words = [tmp_path / "photo.png", "--model", engine, "--device", "cpu", "--output", tmp_path / "out"]
    with pytest.raises(QueryDiffError, match="was built for device cuda"):
        segment([str(word) for word in words])
    assert segment([str(word) for word in (*words, "--fallback")]) == 0
    assert read_image(tmp_path / "out" / "photo_label.png").shape[:2] == (64, 128)


def test_segment_refuses_a_provider_that_is_not_there(tmp_path, engine):
    write_image(tmp_path / "photo.png", np.zeros((64, 128, 3), np.uint8))
    absent = next(name for name in ("cuda", "tensorrt") if PROVIDERS[name] not in onnxruntime.get_available_providers())
    with pytest.raises(QueryDiffError, match=f"needs ONNX Runtime's {PROVIDERS[absent]}"):
        segment([str(tmp_path / "photo.png"), "--model", str(engine), "--provider", absent])


@pytest.mark.parametrize(
    ("command", "left_out"),
    [
        ("segment", set()),
        ("evaluate", {"model"}),
        ("benchmark", {"model"}),
        ("evaluate-bag", {"size"}),
        ("demo", {"size"}),
    ],
)
def test_every_command_that_runs_a_model_takes_all_options_of_engines(command, left_out):
    module = import_module({point.name: point.value for point in entry_points(group="querydiff.subcommands")}[command])
    flags = {flag for action in module.parser()._actions for flag in action.option_strings}
    wanted = {f"--{field.name.replace('_', '-')}" for field in fields(EngineOptions) if field.name not in left_out}
    assert wanted <= flags
    assert "--engine" not in flags
    assert ("--size" in flags) == ("size" not in left_out)


def test_options_of_engines_reach_the_engine():
    parser = argparse.ArgumentParser()
    add_engine_arguments(parser)
    words = "--model m.onnx --size 64x96 --device cuda:1 --provider tensorrt --threads 2 --fallback --cuda-graphs"
    options = engine_options(parser.parse_args([*words.split(), "--window", "64", "--stride", "32"]))
    assert options == EngineOptions("m.onnx", "cuda:1", 2, (64, 96), "tensorrt", True, True, 64, 32)
    assert engine_options(parser.parse_args(["--model", "default"])) == EngineOptions()


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.png", None, "No file"),
        ("broken.png", b"\x89PNG broken", "cannot be decoded"),
        ("broken.mp4", b"not a video", "cannot be opened"),
        ("notes.txt", b"hello", "no image or video"),
    ],
)
def test_segment_says_what_is_wrong_with_a_file(tmp_path, engine, name, content, says):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    result = querydiff("segment", tmp_path / name, "--model", engine, "--output", tmp_path / "out")
    assert result.returncode == 1
    assert says in result.stderr
    assert "Traceback" not in result.stderr
    assert not list(tmp_path.glob("out/*"))


def test_ctrl_c_leaves_no_traceback_and_no_half_file(tmp_path, engine):
    slow = write_pixel_engine(tmp_path / "slow.onnx", work=1024)
    write_video(tmp_path / "drive.mp4", (np.zeros((32, 48, 3), np.uint8) for _ in range(500)), 10)
    command = [sys.executable, "-m", "querydiff_core", "segment", tmp_path / "drive.mp4", "--model", slow]
    process = subprocess.Popen([*command, "--output", tmp_path / "out"], stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not list(tmp_path.glob("out/drive_labels/*.png")):
        os.sched_yield()
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in errors
    assert not list(tmp_path.glob("out/*.mp4"))
    assert not list(tmp_path.glob("out/.*"))


def test_default_is_the_shipped_checkpoint_where_one_is_exported():
    chosen = export.parser().parse_args(["default", "--output", "x.onnx"]).checkpoint
    assert chosen == default_checkpoint()
    assert chosen.is_file()
