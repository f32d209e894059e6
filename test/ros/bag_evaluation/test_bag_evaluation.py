"""`querydiff evaluate-bag` offline: scores, conditions, what is said of drives without ground truth, and restarts."""

import csv
import hashlib
from dataclasses import replace

import cv2
import numpy as np
import pytest
import yaml
from drives import SIZE, START, STEP, picture, record
from engines import expected_labels

from querydiff_core.data.labelled_folder import LabelledFolder
from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.result import Result
from querydiff_core.inference.segmenter import Segmenter
from querydiff_core.label_space import label_mapping
from querydiff_core.utils.image_files import write_image
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.cli import evaluate_bag

STORAGES = pytest.mark.parametrize("storage", ["mcap", "sqlite3"])


@pytest.fixture
def evaluate(tmp_path, pixel_engine):
    """Return a runner of the subcommand on the pixel engine; it returns the Result it wrote."""

    def run(*arguments, output=tmp_path / "out" / "result.json"):
        words = [*map(str, arguments), "--model", str(pixel_engine), "--output", str(output)]
        assert evaluate_bag.main(words) == 0
        return Result.load(output)

    return run


@STORAGES
def test_scores_by_condition_are_what_arithmetic_says(tmp_path, evaluate, storage, capsys):
    result = evaluate(record(tmp_path / "bag", 12, ["fog", "rain"], storage=storage))
    assert [(domain.name, domain.images) for domain in result.domains] == [("fog", 6), ("rain", 6)]
    for domain, frames in zip(result.domains, (range(6), range(6, 12)), strict=True):
        assert domain.pixel_accuracy == 0.75
        classes = np.stack([expected_labels(picture(index)) for index in frames])
        ground_truth = classes.copy()
        ground_truth[:, :12] = (ground_truth[:, :12] + 1) % 19
        hits = [((ground_truth == c) & (classes == c)).sum() for c in np.unique(ground_truth)]
        union = [((ground_truth == c) | (classes == c)).sum() for c in np.unique(ground_truth)]
        assert domain.miou == pytest.approx(np.mean(np.divide(hits, union)))
        assert domain.ece is not None
    (entry,) = result.data
    assert (entry["frames"], entry["frames_labelled"], entry["frames_with_ground_truth"]) == (12, 12, 12)
    assert entry["damage"] is None
    assert list(entry["conditions"]) == ["fog", "rain"]
    assert "75.0" in capsys.readouterr().out


def test_folder_mcap_and_sqlite3_get_the_same_labels(tmp_path, evaluate, pixel_engine):
    for index in range(6):
        write_image(tmp_path / f"folder/images/{index:02d}.png", picture(index))
        write_image(tmp_path / f"folder/labels/{index:02d}.png", expected_labels(picture(index)))
    segmenter, digest = Segmenter.load(pixel_engine), hashlib.sha256()
    for index, (image, _, _) in enumerate(LabelledFolder(tmp_path / "folder")):
        digest.update((START + index * STEP).to_bytes(8, "little") + segmenter(image).labels.tobytes())
    results = [
        evaluate(record(tmp_path / storage, 6, storage=storage), output=tmp_path / f"{storage}.json")
        for storage in ("mcap", "sqlite3")
    ]
    assert [result.data[0]["labels_sha256"] for result in results] == [digest.hexdigest()] * 2
    assert results[0].domains[0].confusion == results[1].domains[0].confusion


def test_conditions_come_from_the_topic_then_metadata_then_folders(tmp_path, evaluate):
    drives = tmp_path / "drives"
    record(drives / "snow" / "a", 2, ["rain"])
    record(drives / "snow" / "b", 2)
    record(drives / "night_drive", 2)
    metadata = record(drives / "snow" / "c", 2) / "metadata.yaml"
    raw = yaml.safe_load(metadata.read_text())
    raw["rosbag2_bagfile_information"]["custom_data"] = {"condition": "dusk"}
    metadata.write_text(yaml.safe_dump(raw))
    record(drives / "plain", 2)
    result = evaluate(drives)
    assert [entry["bag"] for entry in result.data] == ["night_drive", "plain", "snow_a", "snow_b", "snow_c"]
    said = {entry["bag"]: list(entry["conditions"]) for entry in result.data}
    assert said == {
        "snow_a": ["rain"], "snow_b": ["snow"], "snow_c": ["dusk"], "night_drive": ["night"], "plain": ["unknown"]
    }  # fmt: skip
    assert {domain.name: domain.images for domain in result.domains} == {
        "rain": 2, "snow": 2, "dusk": 2, "night": 2, "unknown": 2
    }  # fmt: skip


def test_curves_and_pictures_lie_beside_the_result(tmp_path, evaluate):
    evaluate(record(tmp_path / "bag", 40, ["fog", "rain"]), "--pictures", 2)
    folder = tmp_path / "out" / "result_bags"
    rows = list(csv.DictReader((folder / "bag_over_time.csv").open()))
    assert [int(row["stamp_ns"]) for row in rows] == [START + index * STEP for index in range(40)]
    assert {row["condition"] for row in rows[:20]} == {"fog"}
    assert all(0 < float(row["miou"]) < 1 for row in rows)
    plot = cv2.imread(str(folder / "bag_over_time.png"))
    assert plot.shape[1] == 1200
    looks = sorted(folder.glob("bag_worst_*.jpg"))
    assert [look.name[:12] for look in looks] == ["bag_worst_01", "bag_worst_02"]
    assert cv2.imread(str(looks[0])).shape[1] > 900


def test_a_drive_without_ground_truth_is_judged_by_steadiness_and_confidence(tmp_path, evaluate):
    bag = record(tmp_path / "bag", 30, ground_truth=lambda index: None)
    result = evaluate(bag)
    assert result.domains == ()
    (entry,) = result.data
    assert entry["ground_truth"] is None
    assert entry["conditions"]["unknown"]["temporal_consistency"] > 0.8
    green = np.mean([picture(index)[..., 1].mean() for index in range(30)]) / 255
    assert entry["conditions"]["unknown"]["confidence"] == pytest.approx(green)
    assert list((tmp_path / "out" / "result_bags").glob("bag_worst_01*.jpg"))


def test_ground_truth_of_another_mapping_and_merged_classes(tmp_path, evaluate):
    values = np.resize(np.arange(12, dtype=np.uint8), SIZE)
    bag = record(tmp_path / "bag", 2, ground_truth=lambda index: values)
    result = evaluate(bag, "--mapping", "camvid")
    assert result.domains[0].classes == tuple(name for name, _ in label_mapping("camvid").score_classes)
    labelled = (label_mapping("camvid").score_table[label_mapping("camvid")(values)] != 255).sum()
    assert result.domains[0].counts.sum() == 2 * labelled


def test_ground_truth_for_every_third_frame_is_matched_within_the_tolerance(tmp_path, evaluate):
    """The label images were stamped 30 ms late by whoever made them."""
    from rosbags.rosbag2 import Reader, Writer
    from rosbags.typesys import Stores, get_typestore

    store = get_typestore(Stores.ROS2_JAZZY)
    source = record(tmp_path / "source", 9, ground_truth=lambda index: expected_labels(picture(index)))
    with Reader(source) as reader, Writer(tmp_path / "bag", version=9) as writer:
        added = {c.id: writer.add_connection(c.topic, c.msgtype, typestore=store) for c in reader.connections}
        for connection, time, data in reader.messages():
            if connection.topic.endswith("ground_truth"):
                if (time - START) // STEP % 3:
                    continue
                message = store.deserialize_cdr(data, connection.msgtype)
                message.header.stamp.nanosec += 30_000_000
                data, time = store.serialize_cdr(message, connection.msgtype), time + 30_000_000  # noqa: PLW2901
            writer.write(added[connection.id], time, data)
    result = evaluate(tmp_path / "bag", "--tolerance", 0.04)
    assert result.data[0]["frames_with_ground_truth"] == 3
    assert (result.domains[0].images, result.domains[0].miou) == (3, 1.0)
    with pytest.raises(QueryDiffError, match=r"none of /front/label_ground_truth .* are stamped within 0\.02 s"):
        evaluate(tmp_path / "bag", "--again")


def test_a_run_goes_on_where_it_was(tmp_path, evaluate, capsys):
    drives, mapping = tmp_path / "drives", tmp_path / "my.yaml"
    right = {"to_train_id": {index: index for index in range(19)}}
    mapping.write_text(yaml.safe_dump(right | {"score_classes": [{"name": "any", "train_ids": [*range(19)]}]}))
    for name in ("a", "b"):
        record(drives / name, 3)
    first = evaluate(drives, "--score", mapping)
    assert first.domains[0].pixel_accuracy == 1.0
    files = {name: tmp_path / "out" / "result_bags" / f"{name}.json" for name in ("a", "b")}
    before = {name: file.stat().st_ino for name, file in files.items()}
    record(drives / "c", 3)
    files["b"].write_text("{")
    capsys.readouterr()
    result = evaluate(drives, "--score", mapping)
    assert "1 of 3 bags are as evaluated before" in capsys.readouterr().err
    assert files["a"].stat().st_ino == before["a"]
    assert files["b"].stat().st_ino != before["b"]
    assert [entry["bag"] for entry in result.data] == ["a", "b", "c"]
    assert result.data[:2] == first.data
    mapping.write_text(yaml.safe_dump(right))
    assert evaluate(drives, "--score", mapping).domains[0].pixel_accuracy == 0.75
    assert files["a"].stat().st_ino != before["a"]
    assert "as evaluated before" not in capsys.readouterr().err


@pytest.mark.parametrize("option", ["mapping", "score"])
def test_other_options_and_other_contents_of_a_mapping_file_are_other_settings(tmp_path, option):
    file = tmp_path / "my.yaml"
    file.write_text("to_train_id: {0: 0}")
    options = BagOptions(**{option: str(file)})
    before = options.settings
    assert BagOptions(**{option: str(file)}).settings == before
    assert replace(options, tolerance=0.5).settings != before
    file.write_text("to_train_id: {0: 1}")
    assert options.settings != before


def test_one_bad_bag_does_not_spoil_the_others(tmp_path, evaluate, capsys):
    drives = tmp_path / "drives"
    record(drives / "good", 3)
    (drives / "bad.mcap").write_bytes(b"no bag at all")
    with pytest.raises(
        QueryDiffError, match=r"^1 of 2 bags could not be evaluated; .*result\.json holds the others\.$"
    ):
        evaluate(drives)
    assert "bad.mcap cannot be read as a rosbag2" in capsys.readouterr().err
    assert [entry["bag"] for entry in Result.load(tmp_path / "out" / "result.json").data] == ["good"]
