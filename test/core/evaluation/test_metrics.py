"""The scorer's confusion matrix against torchmetrics and against counting pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from querydiff_core.errors import QueryDiffError
from querydiff_core.evaluation.scorer import Scorer
from querydiff_core.label_space import UNLABELLED, cityscapes, label_mapping
from querydiff_core.utils.iou import class_counts

CLASS_IDS = st.integers(0, 18)
TRUE_IDS = st.one_of(st.integers(0, 18), st.just(UNLABELLED))
TRAIN_IDS = label_mapping("train_ids")
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def pairs(draw, predicted_ids=CLASS_IDS):
    shape = draw(SHAPES)
    return draw(arrays(np.uint8, shape, elements=predicted_ids)), draw(arrays(np.uint8, shape, elements=TRUE_IDS))


def score(matrix, prediction, ground_truth, name="image"):
    return matrix.update(prediction, None, ground_truth, name)


def brute_force_iou(prediction, ground_truth, classes):
    seen = ground_truth != UNLABELLED
    for c in range(classes):
        hits = np.sum(seen & (prediction == c) & (ground_truth == c))
        union = np.sum(seen & ((prediction == c) | (ground_truth == c)))
        yield hits / union if np.any(ground_truth == c) else None


@given(pairs(predicted_ids=st.integers(0, 255)))
def test_iou_is_intersection_over_union_of_what_is_labelled(pair):
    matrix = Scorer(TRAIN_IDS)
    score(matrix, *pair)
    expected = list(brute_force_iou(*pair, 19))
    assert list(matrix.iou_by_class.values()) == pytest.approx(expected)
    present = [iou for iou in expected if iou is not None]
    assert matrix.miou == (pytest.approx(np.mean(present)) if present else None)


@settings(deadline=None)
@given(pairs())
def test_agrees_with_torchmetrics(pair):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    prediction, ground_truth = pair
    matrix = Scorer(TRAIN_IDS)
    score(matrix, prediction, ground_truth)
    tensors = torch.from_numpy(prediction).long(), torch.from_numpy(ground_truth).long()
    theirs = functional.multiclass_jaccard_index(*tensors, num_classes=19, average="none", ignore_index=UNLABELLED)
    present = ~np.isnan(matrix.iou)
    np.testing.assert_allclose(matrix.iou[present], theirs.numpy()[present], rtol=1e-6)
    if present.any():
        seen = ground_truth != UNLABELLED
        assert matrix.pixel_accuracy == pytest.approx(np.mean(prediction[seen] == ground_truth[seen]))


@given(st.lists(pairs(), min_size=1, max_size=4))
def test_streaming_equals_all_at_once(frames):
    streamed, merged = Scorer(TRAIN_IDS), Scorer(TRAIN_IDS).result("x")
    for index, (prediction, ground_truth) in enumerate(frames):
        score(streamed, prediction, ground_truth, str(index))
        single = Scorer(TRAIN_IDS)
        counts = score(single, prediction, ground_truth, str(index))
        np.testing.assert_array_equal(counts, class_counts(single.counts))
        merged = merged.merge(single.result("x"))
    whole = Scorer(TRAIN_IDS)
    score(whole, *(np.concatenate([frame[side].ravel() for frame in frames]) for side in (0, 1)))
    np.testing.assert_array_equal(streamed.counts, whole.counts)
    np.testing.assert_array_equal(merged.counts, whole.counts)


def test_score_classes_are_merged_on_both_sides():
    mapping = label_mapping("camvid")
    names = cityscapes().names
    matrix = Scorer(mapping)
    ground_truth = np.array([[names.index("car"), names.index("vegetation"), UNLABELLED]], np.uint8)
    prediction = np.array([[names.index("truck"), names.index("road"), names.index("sky")]], np.uint8)
    score(matrix, prediction, ground_truth)
    assert len(matrix.classes) == 11
    assert matrix.iou_by_class["car"] == 1.0
    assert matrix.iou_by_class["tree"] == 0.0
    assert matrix.iou_by_class["sky"] is None
    assert matrix.miou == 0.5


def test_a_prediction_that_is_no_class_is_a_miss_and_no_false_alarm():
    ground_truth = np.array([0, 0, 1], np.uint8)
    matrix = Scorer(TRAIN_IDS)
    score(matrix, np.array([UNLABELLED, 0, 1], np.uint8), ground_truth)
    np.testing.assert_array_equal(matrix.counts[:2, [0, 1, -1]], [[1, 0, 1], [0, 1, 0]])
    assert matrix.counts.sum() == 3


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="neither below 19 nor 255"):
        score(Scorer(TRAIN_IDS), np.zeros((1, 1), np.uint8), np.full((1, 1), 19, np.uint8))
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        score(Scorer(TRAIN_IDS), np.zeros((1, 1), np.uint8), np.zeros((1, 2), np.uint8))
    with pytest.raises(QueryDiffError, match="different classes"):
        Scorer(TRAIN_IDS).result("x").merge(Scorer(label_mapping("camvid")).result("x"))
