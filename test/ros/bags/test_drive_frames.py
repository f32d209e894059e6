"""Data sets in their published layouts, recorded through `querydiff record-drive --data-set`."""

import os

import cv2
import numpy as np
import pytest
from paths import CAMVID
from rclpy.serialization import deserialize_message
from sensor_msgs.msg import Image
from std_msgs.msg import String

from querydiff_core.errors import QueryDiffError
from querydiff_core.label_space import label_mapping
from querydiff_ros.bags.bag_reader import BagReader
from querydiff_ros.bags.bag_recorder import FIRST_STAMP_NS
from querydiff_ros.bags.data_set_frames import PAUSE_NS
from querydiff_ros.cli import record_drive

SIZE = (6, 8)


def write(path, shade, channels=3):
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*SIZE, channels) if channels > 1 else SIZE, shade, np.uint8))


def recorded(bag):
    """Return stamps of the frames, shades of the ground truth by stamp, and (time, condition) changes."""
    stamps, truths, conditions = [], {}, []
    for topic, time, data in BagReader(bag).messages():
        if topic == "/condition":
            conditions.append((time, deserialize_message(data, String).data))
        elif topic == "/front/image":
            stamps.append(time)
        elif topic == "/front/label_ground_truth":
            truths[time] = deserialize_message(data, Image).data[0]
    return stamps, truths, conditions


def record(root, bag, *arguments):
    assert record_drive.main([str(root), str(bag), "--raw", "--rate", "10", *arguments]) == 0
    return recorded(bag)


@pytest.fixture
def acdc(tmp_path):
    """Two sequences of two frames in fog, one of one frame at night; the label says where it is from."""
    root = tmp_path / "acdc"
    for condition, sequence, frame, label in [
        ("fog", "GOPR0475", 41, 0),
        ("fog", "GOPR0475", 161, 1),
        ("fog", "GP010476", 10, 2),
        ("fog", "GP010476", 20, 3),
        ("night", "GOPR0351", 159, 4),
    ]:
        stem = f"{condition}/val/{sequence}/{sequence}_frame_{frame:06d}"
        write(root / "rgb_anon" / f"{stem}_rgb_anon.png", 9)
        write(root / "gt" / f"{stem}_gt_labelTrainIds.png", label, 1)
    for condition in ("rain", "snow"):
        write(root / f"rgb_anon/{condition}/val/S/S_frame_000001_rgb_anon.png", 9)
        write(root / f"gt/{condition}/val/S/S_frame_000001_gt_labelTrainIds.png", 5, 1)
    return root


def test_acdc_goes_sequence_after_sequence_through_its_conditions(tmp_path, acdc, capsys):
    stamps, truths, conditions = record(acdc, tmp_path / "bag", "--data-set", "acdc", "--split", "val")
    assert "7 labelled frames at 10 Hz." in capsys.readouterr().out
    assert list(truths.values()) == [0, 1, 2, 3, 4, 5, 5]
    steps = np.diff(stamps).tolist()
    assert steps == [10**8, PAUSE_NS, 10**8, PAUSE_NS, PAUSE_NS, PAUSE_NS]
    assert stamps[0] == FIRST_STAMP_NS
    assert conditions == [(stamps[0], "fog"), (stamps[4], "night"), (stamps[5], "rain"), (stamps[6], "snow")]


def test_one_condition_of_acdc(tmp_path, acdc):
    _, truths, conditions = record(
        acdc, tmp_path / "bag", "--data-set", "acdc", "--split", "val", "--condition", "night"
    )
    assert list(truths.values()) == [4]
    assert [condition for _, condition in conditions] == ["night"]


def test_cityscapes_sequences_have_truth_where_it_is_known(tmp_path, capsys):
    root = tmp_path / "cityscapes"
    for frame in [*range(4), *range(30, 33)]:
        write(root / f"leftImg8bit_sequence/val/lindau/lindau_000000_{frame:06d}_leftImg8bit.png", 7)
    for frame in (2, 31):
        write(root / f"gtFine/val/lindau/lindau_000000_{frame:06d}_gtFine_labelIds.png", 26, 1)
    arguments = ("--data-set", "cityscapes_sequence", "--split", "val", "--condition", "clear")
    stamps, truths, conditions = record(root, tmp_path / "bag", *arguments)
    assert "7 frames, 2 of them labelled, at 10 Hz." in capsys.readouterr().out
    assert truths == {stamps[2]: 13, stamps[5]: 13}
    assert np.diff(stamps).tolist() == [10**8, 10**8, 10**8, PAUSE_NS, 10**8, 10**8]
    assert [condition for _, condition in conditions] == ["clear"]


def test_a_folder_of_which_half_the_labels_are_missing(tmp_path):
    for stem in range(4):
        write(tmp_path / f"mine/images/{stem}.png", 7)
    for stem in (1, 3):
        write(tmp_path / f"mine/labels/{stem}.png", stem, 1)
    with pytest.raises(QueryDiffError, match=r"0\.png: expected one label image named 0 in .*labels, found none"):
        record(tmp_path / "mine", tmp_path / "bag")
    with pytest.raises(QueryDiffError, match=r"2 of 4 images of folder in .* have no labels"):
        record(tmp_path / "mine", tmp_path / "bag", "--data-set", "folder")
    stamps, truths, _ = record(tmp_path / "mine", tmp_path / "bag", "--data-set", "folder", "--sparse")
    assert truths == {stamps[1]: 1, stamps[3]: 3}


@pytest.mark.skipif(not CAMVID.is_dir(), reason=f"CamVid is not at {os.path.relpath(CAMVID)}")
def test_camvid_as_a_data_set(tmp_path):
    stamps, truths, _ = record(CAMVID, tmp_path / "bag", "--data-set", "camvid", "--split", "val")
    files = sorted((CAMVID / "val" / "labels").iterdir())
    assert len(stamps) == len(truths) == len(files)
    first = cv2.imread(str(files[0]), cv2.IMREAD_UNCHANGED)[0, 0]
    assert truths[stamps[0]] == label_mapping("camvid")(np.uint8(first))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--data-set", "nonsense"], "No data set nonsense"),
        (["--data-set", "acdc", "--condition", "hail"], "acdc has no condition hail"),
        (["--data-set", "acdc", "--labels", "x"], "leave it out"),
        (["--split", "val"], "give --data-set too"),
        (["--sparse"], "give --data-set too"),
    ],
)
def test_what_cannot_be_recorded_is_one_sentence(tmp_path, arguments, sentence):
    with pytest.raises(QueryDiffError, match=sentence) as error:
        record_drive.main([str(tmp_path), str(tmp_path / "bag"), *arguments])
    assert str(error.value).count("\n") == 0
    assert not (tmp_path / "bag").exists()
