"""`querydiff evaluate` through the real command on a real engine."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace

import cv2
import numpy as np
import pytest
from engines import PIXEL_METADATA, expected_labels, write_labels_only_engine, write_pixel_engine

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.evaluate_sources import Run
from querydiff_core.evaluation.evaluation_source import sources
from querydiff_core.evaluation.protocol import Protocol, predict
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.engine import default_model
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.utils.file_hash import file_hash

COMMAND = [sys.executable, "-c", "from querydiff_core.cli.main import main; main()", "evaluate"]


def run(*arguments):
    return subprocess.run([*COMMAND, *map(str, arguments)], capture_output=True, text=True, timeout=240, check=False)


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
    assert scores["model"]["engine"] == "onnxruntime"
    assert scores["model"]["variant"] == "pixel"
    assert len(scores["model"]["sha256"]) == 64
    assert scores["data"][0]["images"] == 3
    assert scores["versions"]["onnxruntime"]
    (domain,) = scores["domains"]
    assert domain["pixel_accuracy"] == (595 - 60) / 595
    assert 0.7 < scores["miou"] < 0.9
    assert len(domain["iou_by_class"]) == 19
    assert f"{100 * scores['miou']:.1f}" in result.stdout
    by_threshold = Result.load(tmp_path / "result.json").domains[0].calibration.by_threshold
    assert 0 < by_threshold[12][1] < 1
    for threshold, share, miou in (by_threshold[0], by_threshold[12]):
        row = rf"≥ {threshold:.2f} .* {100 * miou:.1f} \({100 * share:.1f}\)"
        assert re.search(row, result.stdout), result.stdout
    assert {path.name for path in tmp_path.iterdir()} == {"images", "labels", "pixel.onnx", "result.json"}


def test_missing_labels_are_one_sentence(tmp_path):
    write_folder(tmp_path, wrong_pixels=0)
    engine = write_pixel_engine(tmp_path / "pixel.onnx")
    result = run(engine, "--images", tmp_path / "images")
    assert result.returncode == 1
    assert result.stderr.startswith("error: ")
    assert "--labels" in result.stderr
    assert result.stderr.count("\n") == 1


def write_scenes(root, conditions=("fog", "night"), each=3, size=(40, 60)):
    random = np.random.default_rng(1)
    for name in ("images", "labels"):
        (root / name).mkdir(parents=True)
    for condition in conditions:
        for index in range(each):
            image = np.full((*size, 3), random.integers(0, 256, 3), np.uint8)
            image[: size[0] // 2] = random.integers(0, 256, 3)
            labels = random.integers(0, 19, size, dtype=np.uint8)
            cv2.imwrite(str(root / "images" / f"{condition}_{index}.jpg"), image[..., ::-1])
            cv2.imwrite(str(root / "labels" / f"{condition}_{index}.png"), labels)
    return root


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    return write_scenes(tmp_path_factory.mktemp("scenes"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    return write_pixel_engine(tmp_path_factory.mktemp("engine") / "pixel.onnx")


def test_several_sets_and_conditions_are_domains_of_one_result(scenes, engine, tmp_path):
    write_folder(tmp_path, wrong_pixels=0)
    output = tmp_path / "result.json"
    data = ("--data", f"street_scenes={scenes}::each", "--data", f"folder={tmp_path}")
    result = run(engine, *data, "--output", output)
    assert result.returncode == 0, result.stderr
    read = Result.load(output)
    assert [(d.name, d.images) for d in read.domains] == [
        ("street_scenes fog", 3),
        ("street_scenes night", 3),
        ("folder", 3),
    ]
    assert read.domains[2].miou == 1.0
    assert len({entry["fingerprint"] for entry in read.data}) == 3


def test_the_result_is_identical_whatever_the_number_of_workers(scenes, engine, tmp_path):
    texts = set()
    for workers in (0, 1, 2, 5):
        output = tmp_path / f"{workers}.json"
        result = run(engine, "--data", f"street_scenes={scenes}", "--workers", workers, "--output", output)
        assert result.returncode == 0, result.stderr
        texts.add(output.read_text())
    assert len(texts) == 1


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    scenes = write_scenes(tmp_path / "scenes", each=200)
    engine = write_pixel_engine(tmp_path / "slow.onnx", work=1024)
    output = tmp_path / "result.json"
    arguments = [engine, "--data", f"street_scenes={scenes}", "--output", output]
    soon = {**os.environ, "QUERYDIFF_PROGRESS_AFTER": "1"}
    process = subprocess.Popen([*COMMAND, *map(str, arguments)], stderr=subprocess.PIPE, text=True, env=soon)
    assert process.stderr.readline().startswith("evaluating: ")
    measured = file_hash(engine)
    engine.write_bytes(b"another model")  # as a run that trains would replace it
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=240)
    assert process.returncode == 130
    read = Result.load(output)
    assert read.model["sha256"] == measured
    assert 0 < read.images < 400
    assert f"{read.images} of 400 images were scored" in said
    assert read.domains[0].extra == {"cut_short_of": 400}
    assert "Traceback" not in said


def test_a_damaged_image_ends_the_run_and_keeps_what_was_measured(engine, tmp_path):
    scenes = write_scenes(tmp_path / "scenes")
    (scenes / "images" / "night_1.jpg").write_bytes(b"no image")
    output = tmp_path / "result.json"
    result = run(engine, "--data", f"street_scenes={scenes}", "--output", output)
    assert result.returncode == 1
    assert "night_1.jpg" in result.stderr
    assert Result.load(output).images == 4


@pytest.mark.parametrize(
    ("data", "said"),
    [
        ("street_scenes", "SET=ROOT"),
        ("nothing={root}", "No data set nothing"),
        ("street_scenes={root}:val", "no split val"),
        ("street_scenes={root}::hail", "no condition hail"),
        ("street_scenes={root}/none", "No folder"),
        ("folder={root}::each", "does not tell conditions"),
        ("street_scenes={root}:a:b:c", "No folder"),
    ],
)
def test_wrong_data_is_one_sentence(data, said, scenes, engine):
    with pytest.raises(QueryDiffError, match=said) as caught:
        sources(data.format(root=scenes))
    assert "\n" not in str(caught.value)


def test_wrong_options_are_one_sentence(scenes, engine):
    for options, said in (
        ((), "Nothing to score"),
        (("--data", f"street_scenes={scenes}", "--data", f"street_scenes={scenes}"), "twice"),
        (("--data", f"street_scenes={scenes}", "--scales", "0.5,1"), "need a window"),
        (("--data", f"street_scenes={scenes}", "--workers", "-1"), "workers"),
    ):
        result = run(engine, *options)
        assert result.returncode == 1
        assert said in result.stderr
        assert result.stderr.count("\n") == 1


def test_labels_of_another_size_are_named(engine, tmp_path):
    scenes = write_scenes(tmp_path / "scenes", conditions=("fog",))
    cv2.imwrite(str(scenes / "labels" / "fog_0.png"), np.zeros((9, 9), np.uint8))
    with pytest.raises(QueryDiffError, match=r"fog_0\.png: labels are 9 x 9"):
        Run(Segmenter.load(engine), Protocol())(sources(f"street_scenes={scenes}"), lambda: True)


def test_a_folder_where_half_the_labels_are_missing_says_how_many(engine, tmp_path):
    scenes = write_scenes(tmp_path / "scenes")
    for index in range(3):
        (scenes / "labels" / f"fog_{index}.png").unlink()
    result = run(engine, "--data", f"street_scenes={scenes}", "--output", tmp_path / "result.json")
    assert result.returncode == 1
    assert "3 of 6 images of street_scenes" in result.stderr
    assert not (tmp_path / "result.json").exists()


def rewrite_labels(scenes, change):
    for file in sorted((scenes / "labels").iterdir()):
        cv2.imwrite(str(file), change(file.stem, cv2.imread(str(file), cv2.IMREAD_UNCHANGED)))


def test_label_values_that_the_mapping_lacks_are_said_and_left_out_of_the_score(engine, tmp_path):
    scenes = write_scenes(tmp_path / "scenes")

    def spoil(stem, labels):
        labels[:4] = 77 if stem.startswith("night") else labels[:4]
        labels[4] = 200 if stem == "night_1" else labels[4]
        return labels

    rewrite_labels(scenes, spoil)
    output = tmp_path / "result.json"
    result = run(engine, "--data", f"street_scenes={scenes}::each", "--output", output)
    assert result.returncode == 0
    first = scenes / "labels" / "night_0.png"
    (said,) = (line for line in result.stderr.splitlines() if line.startswith("warning: "))
    assert said == (
        "warning: street_scenes night has label values that the mapping train_ids does not have, taken as unlabelled: "
        f"77 in 3 images, 200 in 1 image; first in {first}."
    )
    assert [int(domain.counts.sum()) for domain in Result.load(output).domains] == [3 * 2400, 3 * 2400 - 13 * 60]


def test_a_set_without_any_pixel_of_a_class_is_refused_and_what_was_scored_before_is_kept(engine, tmp_path):
    scenes = write_scenes(tmp_path / "scenes")
    rewrite_labels(scenes, lambda stem, labels: np.full_like(labels, 77) if "night" in stem else labels)
    output = tmp_path / "result.json"
    result = run(engine, "--data", f"street_scenes={scenes}::each", "--output", output)
    assert result.returncode == 1
    assert (
        "error: No pixel of street_scenes night has a class in the mapping train_ids (77 in 3 images; first in "
        f"{scenes / 'labels' / 'night_0.png'}): choose the mapping that its labels follow.\n"
    ) in result.stderr
    assert [domain.name for domain in Result.load(output).domains] == ["street_scenes fog"]
    rewrite_labels(scenes, lambda _, labels: np.full_like(labels, 255))
    assert "(all are unlabelled)" in run(engine, "--data", f"street_scenes={scenes}").stderr


def test_values_that_a_mapping_lists_as_unlabelled_are_no_news_and_ids_of_another_kind_are(engine, tmp_path):
    scenes = write_scenes(tmp_path / "scenes", conditions=("fog",))
    rewrite_labels(scenes, lambda _, labels: np.arange(labels.size, dtype=np.uint8).reshape(labels.shape) % 35)
    for mapping, warns in (("cityscapes_label_ids", False), ("train_ids", True)):
        result = run(engine, "--images", scenes, "--mapping", mapping)
        assert result.returncode == 0, result.stderr
        assert ("19 in 3 images, 20 in 3 images" in result.stderr) is warns
        assert ("warning" in result.stderr) is warns


def test_a_model_of_other_classes_is_refused(tmp_path):
    metadata = replace(PIXEL_METADATA, class_names=("cat", "dog"), palette=((0, 0, 0), (255, 255, 255)))
    engine = write_pixel_engine(tmp_path / "pets.onnx", metadata=metadata)
    with pytest.raises(QueryDiffError, match="2 classes, cat, dog"):
        Run(Segmenter.load(engine), Protocol())


def test_a_checkpoint_under_the_papers_preset_sees_the_window_pixel_for_pixel(scenes, tmp_path):
    pytest.importorskip("torch")
    checkpoint = default_model().with_name("small.safetensors")
    one = tmp_path / "one"
    for folder, suffix in (("images", "jpg"), ("labels", "png")):
        (one / folder).mkdir(parents=True)
        shutil.copy(scenes / folder / f"fog_0.{suffix}", one / folder)
    output = tmp_path / "result.json"
    done = run(checkpoint, "--data", f"street_scenes={one}", "--preset", "paper", "--output", output)
    assert done.returncode == 0, done.stderr
    assert Result.load(output).model["input_size"] == [512, 512]


def test_one_look_is_the_segmenter_itself(engine):
    image = np.random.default_rng(3).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    prediction, confidence = predict(Segmenter.load(engine), image, Protocol(), "folder")
    np.testing.assert_array_equal(prediction, expected_labels(image))
    np.testing.assert_array_equal(confidence, image[..., 1])


def test_views_of_a_pixelwise_model_agree(engine):
    image = np.kron(np.random.default_rng(3).integers(1, 256, (5, 6, 3)), np.ones((8, 8, 1))).astype(np.uint8)
    segmenter = Segmenter.load(engine, window=16, stride=8)
    flipped, confidence = predict(segmenter, image, Protocol(flip=True, window=16), "folder")
    np.testing.assert_array_equal(flipped, expected_labels(image))
    np.testing.assert_array_equal(confidence, image[..., 1])
    scaled, _ = predict(segmenter, image, Protocol(scales=(1.0, 2.0), flip=True, window=16), "folder")
    # Enlarging blends colours at the edges of the 8 x 8 squares, and nowhere else.
    inner = np.kron(np.ones((5, 6)), np.pad(np.ones((4, 4)), 2)) > 0
    np.testing.assert_array_equal(scaled[inner], expected_labels(image)[inner])


def test_without_confidence_one_view_is_scored_and_several_are_refused(tmp_path):
    segmenter = Segmenter.load(write_labels_only_engine(tmp_path / "labels.onnx"))
    image = np.random.default_rng(3).integers(0, 256, (8, 8, 3), np.uint8)
    prediction, confidence = predict(segmenter, image, Protocol(), "folder")
    np.testing.assert_array_equal(prediction, expected_labels(image))
    assert confidence is None
    with pytest.raises(QueryDiffError, match="leave --scales and --flip out"):
        predict(segmenter, image, Protocol(flip=True), "folder")


def test_a_label_that_one_view_alone_chose_halves_its_confidence():
    class Sided:
        """Labels the left column 1 with confidence 200, the rest 2 with 100: wherever the image's left is."""

        label_space = range(19)

        def __call__(self, image):
            labels, confidence = np.full(image.shape[:2], 2, np.uint8), np.full(image.shape[:2], 100, np.uint8)
            labels[:, 0], confidence[:, 0] = 1, 200
            return type("Seen", (), {"labels": labels, "confidence": confidence})

    prediction, confidence = predict(Sided(), np.zeros((2, 4, 3), np.uint8), Protocol(flip=True), "folder")
    np.testing.assert_array_equal(prediction, [[1, 2, 2, 1]] * 2)
    np.testing.assert_array_equal(confidence, [[100, 100, 100, 100]] * 2)


def test_the_papers_sizes():
    paper = Protocol.paper()
    image = np.zeros((1024, 2048, 3), np.uint8)
    assert paper.resized(image, "cityscapes").shape == (512, 1024, 3)
    assert paper.resized(image, "acdc") is image
    for size, fitted in (((3024, 4032), (512, 683)), ((4032, 3024), (683, 512)), ((1000, 3000), (341, 1024))):
        assert paper.resized(np.zeros((*size, 3), np.uint8), "mapillary_v1_2").shape[:2] == fitted
    assert Protocol.from_json(paper.to_json()) == paper
    assert (paper.window, paper.stride) == (512, 341)


def test_the_papers_preset_and_what_overrides_it(scenes, engine, tmp_path):
    output = tmp_path / "result.json"
    data = ("--data", f"street_scenes={scenes}")
    assert run(engine, *data, "--preset", "paper", "--output", output).returncode == 0
    assert Result.load(output).settings["window"] == 512
    options = ("--preset", "paper", "--window", "32", "--test-size", "0.5", "--flip", "--scales", "1,2")
    assert run(engine, *data, *options, "--output", output).returncode == 0
    found = Result.load(output).settings
    assert found == {"size": 0.5, "sizes": {}, "window": 32, "stride": None, "flip": True, "scales": [1.0, 2.0]} | {
        "fitted": ["mapillary_v1_2", "mapillary_v2_0"]
    }
