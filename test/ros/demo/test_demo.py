"""`querydiff demo` through the real command: real node, real DDS, real pictures."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
from engines import expected_labels, write_pixel_engine

from querydiff_core.label_space import cityscapes
from querydiff_core.street_scenes import CONDITIONS
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.bags.bag_recorder import DriveRecorder

SIZE = (48, 96)
START = 1_700_000_000_000_000_000


def command(*arguments):
    return [str(Path(sys.executable).with_name("querydiff")), "demo", *map(str, arguments)]


def demo(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True, timeout=240, check=False)


def write_drive(path, conditions, wrong_rows=0):
    """Record two frames a condition whose ground truth is what the pixel engine says, but for some rows."""
    random = np.random.default_rng(0)
    with DriveRecorder(path, compressed=False) as recorder:
        for index in range(10):
            image = random.integers(0, 256, (*SIZE, 3), dtype=np.uint8)
            ground_truth = expected_labels(image)
            ground_truth[:wrong_rows] = (ground_truth[:wrong_rows] + 1) % 19
            condition = conditions[index * len(conditions) // 10] if conditions else None
            recorder.write(START + index * 100_000_000, image, ground_truth, condition)
    return path


def video_frames(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.codec_context.pix_fmt) == ("h264", "yuv420p")
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)]


@pytest.fixture(scope="module")
def shown(tmp_path_factory, pixel_engine):
    """Run the demo on a recorded drive, once: its folder of results and what the command said."""
    folder = tmp_path_factory.mktemp("demo")
    bag = write_drive(folder / "bag", CONDITIONS, wrong_rows=12)
    result = demo("--drive", bag, "--model", pixel_engine, "--output", folder / "out")
    assert result.returncode == 0, result.stderr
    return folder / "out", result


def test_a_recorded_drive_is_labelled_scored_and_shown(shown):
    folder, result = shown
    metrics = json.loads((folder / "metrics.json").read_text())
    assert (metrics["frames_published"], metrics["frames_labelled"], metrics["frames_dropped"]) == (10, 10, 0)
    assert metrics["pixel_accuracy"] == 0.75
    assert list(metrics["miou_by_condition"]) == list(CONDITIONS)
    assert set(metrics["iou_by_class"]) == set(cityscapes().names)
    # 3 of 4 pixels right, the rest spread evenly: IoU = 0.75 / 1.25.
    assert metrics["miou"] == pytest.approx(0.6, abs=0.02)
    assert 0 < metrics["latency_ms"]["p50"] <= metrics["latency_ms"]["p99"]
    assert (metrics["engine"], metrics["variant"], metrics["device"]) == ("onnxruntime", "pixel", "cpu")
    frames = video_frames(folder / "overlay.mp4")
    assert len(frames) == 10
    assert frames[0].shape[0] > 500
    assert "mIoU" in result.stdout
    assert "10 of 10 frames labelled by pixel on onnxruntime" in result.stdout
    assert "Traceback" not in result.stderr + (folder / "node.log").read_text()
    assert {path.name for path in folder.iterdir()} == {
        "contact_sheet.png",
        "metrics.json",
        "node.log",
        "overlay.mp4",
    }


def test_the_contact_sheet_shows_every_condition_and_the_legend(shown):
    folder, _ = shown
    sheet = cv2.imread(str(folder / "contact_sheet.png"))[..., ::-1]
    for color, name in zip(cityscapes().palette, cityscapes().names, strict=True):
        assert (sheet == color).all(-1).any(), name
    rows = 5 * 480 * SIZE[0] // SIZE[1]
    assert rows < sheet.shape[0] < rows + 250


def test_a_drive_without_conditions_or_ground_truth_is_shown_all_the_same(tmp_path, pixel_engine):
    with DriveRecorder(tmp_path / "bag", camera="left") as recorder:
        for index in range(3):
            size = SIZE if index < 2 else SIZE[::-1]  # of photographs, some are upright
            recorder.write(START + index, np.full((*size, 3), 70 * index, np.uint8))
    result = demo("--drive", tmp_path / "bag", "--model", pixel_engine, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["frames_labelled"] == 3
    assert metrics["miou"] is None
    assert metrics["miou_by_condition"] == {}
    assert len(video_frames(tmp_path / "out" / "overlay.mp4")) == 3


def test_score_classes_are_those_of_the_mapping(tmp_path, pixel_engine):
    bag = write_drive(tmp_path / "bag", ["rain"])
    result = demo("--drive", bag, "--model", pixel_engine, "--score", "camvid", "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert len(metrics["iou_by_class"]) == 11
    assert metrics["miou_by_condition"] == {"rain": 1.0}


def test_a_drive_of_unknown_condition_is_scored_as_one_drive(tmp_path, pixel_engine):
    bag = write_drive(tmp_path / "bag", [])
    result = demo("--drive", bag, "--model", pixel_engine, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["miou_by_condition"] == {"drive": 1.0}
    assert "drive" in result.stdout.split("mIoU")[0]


def test_a_rendered_drive_goes_through_every_condition(tmp_path, pixel_engine):
    write_drive(tmp_path / "out" / "drive", ["clear"])  # left there by an earlier demo
    result = demo("--frames", 10, "--image-size", "64x128", "--model", pixel_engine, "--output", tmp_path / "out")
    assert result.returncode == 0, result.stderr
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["frames_labelled"] == 10
    assert set(metrics["miou_by_condition"]) == set(CONDITIONS)
    assert len(video_frames(tmp_path / "out" / "overlay.mp4")) == 10
    assert BagReader(tmp_path / "out" / "drive").topics["/front/image/compressed"].count == 10


def test_no_label_is_one_sentence_with_the_last_word_of_the_node(tmp_path):
    bag = write_drive(tmp_path / "bag", ["clear"])
    (tmp_path / "broken.onnx").write_bytes(b"no model")
    result = demo("--drive", bag, "--model", tmp_path / "broken.onnx", "--output", tmp_path / "out")
    assert result.returncode == 1
    assert result.stderr.startswith("error: No label arrived: ")
    assert "broken.onnx" in result.stderr
    assert result.stderr.count("\n") == 1
    assert not (tmp_path / "out" / "metrics.json").exists()


def test_the_page_shows_each_frame_with_its_condition_while_the_node_labels_it(tmp_path):
    bag, engine = write_drive(tmp_path / "bag", CONDITIONS), write_pixel_engine(tmp_path / "slow.onnx", work=400)
    words = command("--drive", bag, "--model", engine, "--output", tmp_path / "out", "--view", "--view-port", 0)
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        address = process.stdout.readline().removeprefix("Watch at ").strip()
        seen, last, ended = [], 0, False
        while not ended:
            with urllib.request.urlopen(f"{address}/frame?after={last}", timeout=60) as answer:
                found = json.load(answer)
            ended, last = found.get("ended", False), found.get("id", last)
            seen += [found] if "id" in found else []
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    numbers = [frame["facts"]["number"] for frame in seen]
    assert numbers == sorted(set(numbers))
    assert numbers[-1] == 10
    for frame in seen:
        facts, pictures = frame["facts"], frame["pictures"]
        assert facts["condition"] == CONDITIONS[(facts["number"] - 1) // 2]
        assert (facts["total"], facts["source"], facts["model"]) == (10, "bag", "slow.onnx")
        assert facts["latency_ms"] > 0
        assert set(pictures) == {"input", "overlay", "confidence"}
        image = np.random.default_rng(0).integers(0, 256, (facts["number"], *SIZE, 3), dtype=np.uint8)[-1]
        shares = np.bincount(expected_labels(image).ravel(), minlength=19) / image[..., 0].size
        assert [c["share"] for c in frame["classes"]] == pytest.approx(shares, abs=1e-4)


# Ctrl-C in a terminal reaches the demo and the node, `kill` the demo alone.
@pytest.mark.parametrize(("end", "sent"), [(os.killpg, signal.SIGINT), (os.kill, signal.SIGTERM)])
def test_an_interrupted_demo_ends_its_node(tmp_path, pixel_engine, end, sent):
    bag, log = write_drive(tmp_path / "bag", ["clear"]), tmp_path / "out" / "node.log"
    arguments = ("--drive", bag, "--model", pixel_engine, "--output", tmp_path / "out")
    with subprocess.Popen(
        command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        while process.poll() is None and not (log.exists() and "loaded" in log.read_text()):
            time.sleep(0.01)
        end(process.pid, sent)
        _, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "interrupted\n")
    assert "Traceback" not in log.read_text()
    with pytest.raises(ProcessLookupError):
        os.killpg(process.pid, 0)


def test_what_cannot_be_shown_is_one_sentence(tmp_path, pixel_engine):
    with DriveRecorder(tmp_path / "bag") as recorder:
        recorder.write(START, np.zeros((*SIZE, 3), np.uint8), condition="fog")
    (tmp_path / "out" / "drive").mkdir(parents=True)
    for arguments, sentence in (
        (("--drive", tmp_path / "nowhere"), "No bag"),
        (("--score", "nonsense", "--drive", tmp_path / "bag"), "No label mapping nonsense"),
        (("--frames", 5), "is in the way of the demo's bag"),
        (("--output", tmp_path / "bag" / "metadata.yaml"), "Cannot write to"),
    ):
        result = demo("--model", pixel_engine, "--output", tmp_path / "out", *arguments)
        assert result.returncode == 1
        assert sentence in result.stderr
        assert result.stderr.count("\n") == 1
