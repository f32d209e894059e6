"""Which frames of a drive are kept for a person to look at."""

import cv2
import numpy as np
import pytest

from querydiff_core.label_space import cityscapes, label_mapping
from querydiff_ros.bag_evaluation.bag_frames import LabelledFrame
from querydiff_ros.bag_evaluation.evaluate_bag import BagArtefacts
from querydiff_ros.bag_evaluation.measurements import FrameScore
from querydiff_ros.bag_evaluation.worst_frames import STRETCHES, WorstFrames

SECOND = 10**9
IMAGE, LABELS = np.full((20, 40, 3), 90, np.uint8), np.zeros((20, 40), np.uint8)


def look(mious, step=SECOND, count=3, ground_truth=LABELS):
    worth = WorstFrames(count, cityscapes(), label_mapping("train_ids"))
    for index, miou in enumerate(mious):
        frame = LabelledFrame(index * step, "fog", IMAGE, ground_truth, LABELS, LABELS)
        score = FrameScore(index * step, "fog", miou, miou, 0.5, None)
        worth.offer(frame, score)
    return worth


def test_the_worst_come_first():
    worth = look([0.9, 0.2, 0.8, 0.1, 0.7, 0.3])
    assert [each.stamp_ns // SECOND for each in worth.worst_first] == [3, 1, 5]
    assert worth.worst_first[0].reason == "mIoU 10.0 %"


def test_neighbours_are_shown_once():
    mious = [0.9] * 50
    mious[20:30] = np.linspace(0.3, 0.2, 10)  # within one second
    worst, second = look(mious, step=SECOND // 20).worst_first
    assert worst.stamp_ns == 29 * SECOND // 20
    assert abs(second.stamp_ns - worst.stamp_ns) >= SECOND


def test_a_long_drive_keeps_a_bounded_number_and_finds_its_worst():
    mious = np.random.default_rng(0).uniform(0.3, 0.9, 3000)
    mious[[100, 1500, 2900]] = [0.03, 0.02, 0.01]
    worth = look(mious)
    assert len(worth._pool) <= STRETCHES * 3
    assert [each.stamp_ns // SECOND for each in worth.worst_first] == [2900, 1500, 100]


@pytest.mark.parametrize(("ground_truth", "columns", "rows"), [(LABELS, 2, 2), (None, 3, 1)])
def test_pictures_show_input_labels_and_truth_or_confidence(ground_truth, columns, rows):
    picture = cv2.imdecode(
        np.frombuffer(look([0.5], ground_truth=ground_truth).worst_first[0].jpeg, np.uint8), cv2.IMREAD_COLOR
    )
    assert picture.shape[1] == columns * 486 - 6
    assert picture.shape[0] == 30 + rows * 246


def test_none_are_kept_when_none_are_asked_for():
    assert look([0.5], count=0).worst_first == []


def test_an_evaluation_replaces_its_own_pictures_and_no_other_bags(tmp_path):
    theirs, ours = (tmp_path / f"{name}_worst_01_at_2.0s.jpg" for name in ("a[1]_worst_b", "a[1]"))
    for picture in (theirs, ours):
        picture.touch()
    BagArtefacts().save(tmp_path, "a[1]")
    assert list(tmp_path.iterdir()) == [theirs]
