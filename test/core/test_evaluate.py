"""`querydiff evaluate` through the real command on a real engine."""

import json
import subprocess
import sys

import cv2
import numpy as np
from engines import expected_labels, write_pixel_engine

COMMAND = [sys.executable, "-c", "from querydiff_core.cli.main import main; main()", "evaluate"]


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False)


def write_folder(root, wrong_pixels):
    random = np.random.default_rng(0)
    for name in ("images", "labels"):
        (root / name).mkdir()
    for index in range(3):
        image = random.integers(0, 256, (20, 30, 3), dtype=np.uint8)
        labels = expected_labels(image)
        labels.flat[:wrong_pixels] = (labels.flat[:wrong_pixels] + 1) % 19
        labels.flat[-5:] = 255
        cv2.imwrite(str(root / "images" / f"{index}.png"), image[..., ::-1])
        cv2.imwrite(str(root / "labels" / f"{index}.png"), labels)


def test_scores_are_exact_and_written_whole(tmp_path):
    write_folder(tmp_path, wrong_pixels=60)
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    result = run(engine, "--images", tmp_path, "--output", tmp_path / "result.json")
    assert result.returncode == 0, result.stderr
    scores = json.loads((tmp_path / "result.json").read_text())
    assert scores["images"] == 3
    assert scores["engine"] == "onnxruntime"
    assert scores["variant"] == "pixel"
    assert scores["pixel_accuracy"] == (595 - 60) / 595
    assert 0.7 < scores["miou"] < 0.9
    assert len(scores["iou_by_class"]) == 19
    assert f"{100 * scores['miou']:.1f}" in result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"images", "labels", "pixel.onnx", "result.json"}


def test_missing_labels_are_one_sentence(tmp_path):
    write_folder(tmp_path, wrong_pixels=0)
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    result = run(engine, "--images", tmp_path / "images")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "--labels" in result.stderr
    assert result.stderr.count("\n") == 1
