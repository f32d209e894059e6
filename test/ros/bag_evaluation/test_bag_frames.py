"""The frames of a bag, read as often as one likes."""

import numpy as np
from drives import STEP, picture, record, rewritten
from engines import expected_labels

from querydiff_core.inference.segmenter import Segmentation
from querydiff_ros.bag_evaluation.bag_frames import BagFrames, LabelledFrames
from querydiff_ros.bag_evaluation.bag_options import BagOptions
from querydiff_ros.bag_evaluation.bag_sources import BagSource


def test_a_bag_is_read_again_with_the_same_frames_and_counts(tmp_path):
    bag = record(tmp_path / "bag", 4, ["fog", "rain"], ground_truth=lambda index: expected_labels(picture(index)))
    frames = BagFrames(BagSource(bag, "bag", ""), BagOptions())
    for _ in range(2):
        found = list(frames)
        assert [frame.condition for frame in found] == ["fog", "fog", "rain", "rain"]
        assert (frames.frames, frames.matched, frames.rejected) == (4, 4, 0)
        for index, frame in enumerate(found):
            np.testing.assert_array_equal(frame.image, picture(index))
            np.testing.assert_array_equal(frame.ground_truth, expected_labels(picture(index)))


def test_frames_without_a_prediction_are_left_out(tmp_path):
    frames = BagFrames(BagSource(record(tmp_path / "bag", 4), "bag", "snow"), BagOptions())
    first, *_ = (frame.stamp_ns for frame in frames)

    def predict(frame):
        return None if frame.stamp_ns == first else Segmentation(expected_labels(frame.image), frame.image[..., 1])

    labelled = LabelledFrames(frames, predict)
    for _ in range(2):
        found = list(labelled)
        assert (len(found), frames.frames) == (3, 4)
        for frame in found:
            assert frame.condition == "snow"
            np.testing.assert_array_equal(frame.prediction, expected_labels(frame.image))
            np.testing.assert_array_equal(frame.confidence, frame.image[..., 1])


def test_frames_and_ground_truth_that_do_not_find_each_other_are_counted(tmp_path):
    def apart(topic, index, message):
        message.header.stamp.nanosec += STEP // 2 * (topic.endswith("ground_truth") and index >= 3)
        return message

    bag = rewritten(record(tmp_path / "bag", 8), tmp_path / "apart", apart)
    frames = BagFrames(BagSource(bag, "bag", ""), BagOptions())
    assert (len(list(frames)), frames.matched) == (8, 3)
    (note,) = frames.notes
    assert note.startswith(f"{bag}: 5 of 8 frames have no ground truth, and 5 of /front/label_ground_truth no frame, ")
