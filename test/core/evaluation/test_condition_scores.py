"""Scores by condition: each frame counts once, in its condition and in the total."""

import numpy as np
import pytest

from querydiff_core.evaluation.condition_scores import ConditionScores
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.label_space import label_mapping
from querydiff_core.utils.iou import class_counts

MAPPING = label_mapping("camvid")


def frames(count):
    random = np.random.default_rng(0)
    return [tuple(random.integers(0, 19, (3, 8, 9), dtype=np.uint8)) for _ in range(count)]


def test_each_frame_counts_in_its_condition_and_in_the_total():
    scores, whole = ConditionScores(MAPPING), Scorer(MAPPING)
    parts = {name: Scorer(MAPPING) for name in ("fog", "rain")}
    for index, frame in enumerate(frames(5)):
        condition = "rain" if index == 2 else "fog"
        counts = scores.update(condition, *frame, str(index))
        np.testing.assert_array_equal(counts, whole.update(*frame, str(index)))
        parts[condition].update(*frame, str(index))
    assert scores.domains == tuple(part.result(name) for name, part in parts.items())
    np.testing.assert_array_equal(scores.total.counts, whole.counts)
    assert (scores.frames, scores.total.images) == (5, 5)
    assert scores.miou("rain") == parts["rain"].miou
    assert scores.miou("snow") is None
    assert scores.summary() == {
        "frames": 5,
        "miou": whole.miou,
        "pixel_accuracy": whole.pixel_accuracy,
        "iou_by_class": whole.iou_by_class,
        "by_condition": {name: {"frames": part.images, "miou": part.miou} for name, part in parts.items()},
    }


def test_before_the_first_frame_nothing_is_known():
    summary = ConditionScores(MAPPING).summary()
    assert (summary["frames"], summary["miou"], summary["pixel_accuracy"], summary["by_condition"]) == (
        0,
        None,
        None,
        {},
    )
    assert set(summary["iou_by_class"].values()) == {None}


def test_a_name_that_comes_again_gets_a_number_whatever_its_condition():
    scores = ConditionScores(MAPPING)
    for condition, frame in zip(("fog", "rain", "fog"), frames(3), strict=True):
        scores.update(condition, *frame, "7.5")
    assert [[image.name for image in domain.by_image] for domain in scores.domains] == [["7.5", "7.5 (3)"], ["7.5 (2)"]]


def test_the_counts_of_an_update_are_those_of_the_image_alone():
    scorer = Scorer(MAPPING)
    for index, frame in enumerate(frames(2)):
        counts = scorer.update(*frame, str(index))
        alone = Scorer(MAPPING)
        alone.update(*frame, "alone")
        np.testing.assert_array_equal(counts, class_counts(alone.counts))
    with pytest.raises(ValueError, match="added before"):
        scorer.update(*frames(1)[0], "0")
