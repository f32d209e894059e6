"""The confusion matrix against torchmetrics and against counting pixel by pixel."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from querydiff_core.evaluation.confusion_matrix import ConfusionMatrix, confusion_counts
from querydiff_core.label_space import UNLABELLED, cityscapes, label_mapping

CLASS_IDS = st.integers(0, 18)
TRUE_IDS = st.one_of(st.integers(0, 18), st.just(UNLABELLED))
SHAPES = st.tuples(st.integers(1, 9), st.integers(1, 9))


@st.composite
def pairs(draw, predicted_ids=CLASS_IDS):
    shape = draw(SHAPES)
    return draw(arrays(np.uint8, shape, elements=predicted_ids)), draw(arrays(np.uint8, shape, elements=TRUE_IDS))


def brute_force_iou(predicted, truth, classes):
    seen = truth != UNLABELLED
    for c in range(classes):
        hits = np.sum(seen & (predicted == c) & (truth == c))
        union = np.sum(seen & ((predicted == c) | (truth == c)))
        yield hits / union if np.any(truth == c) else None


@given(pairs(predicted_ids=st.integers(0, 255)))
def test_iou_is_intersection_over_union_of_what_is_labelled(pair):
    matrix = ConfusionMatrix()
    matrix.update(*pair)
    expected = list(brute_force_iou(*pair, 19))
    assert list(matrix.iou_by_class.values()) == pytest.approx(expected)
    present = [iou for iou in expected if iou is not None]
    assert matrix.miou == (pytest.approx(np.mean(present)) if present else None)


@settings(deadline=None)
@given(pairs())
def test_agrees_with_torchmetrics(pair):
    torch = pytest.importorskip("torch")
    functional = pytest.importorskip("torchmetrics.functional.classification")
    predicted, truth = pair
    matrix = ConfusionMatrix()
    matrix.update(predicted, truth)
    tensors = torch.from_numpy(predicted).long(), torch.from_numpy(truth).long()
    theirs = functional.multiclass_jaccard_index(*tensors, num_classes=19, average="none", ignore_index=UNLABELLED)
    present = ~np.isnan(matrix.iou)
    np.testing.assert_allclose(matrix.iou[present], theirs.numpy()[present], rtol=1e-6)
    if present.any():
        seen = truth != UNLABELLED
        assert matrix.pixel_accuracy == pytest.approx(np.mean(predicted[seen] == truth[seen]))


@given(st.lists(pairs(), min_size=1, max_size=4))
def test_streaming_equals_all_at_once(frames):
    streamed, merged = ConfusionMatrix(), ConfusionMatrix()
    for predicted, truth in frames:
        streamed.update(predicted, truth)
        single = ConfusionMatrix()
        single.update(predicted, truth)
        merged += single
    whole = ConfusionMatrix()
    whole.update(*(np.concatenate([frame[side].ravel() for frame in frames]) for side in (0, 1)))
    np.testing.assert_array_equal(streamed.counts, whole.counts)
    np.testing.assert_array_equal(merged.counts, whole.counts)


def test_score_classes_are_merged_on_both_sides():
    mapping = label_mapping("camvid")
    names = cityscapes().names
    matrix = ConfusionMatrix(mapping)
    truth = np.array([[names.index("car"), names.index("vegetation"), UNLABELLED]], np.uint8)
    predicted = np.array([[names.index("truck"), names.index("road"), names.index("sky")]], np.uint8)
    matrix.update(predicted, truth)
    assert len(matrix.names) == 11
    assert matrix.iou_by_class["car"] == 1.0
    assert matrix.iou_by_class["tree"] == 0.0
    assert matrix.iou_by_class["sky"] is None
    assert matrix.miou == 0.5


def test_a_prediction_that_is_no_class_is_a_miss_and_no_false_alarm():
    truth = np.array([0, 0, 1], np.uint8)
    counts = confusion_counts(np.array([UNLABELLED, 0, 1], np.uint8), truth, 2)
    np.testing.assert_array_equal(counts, [[1, 0, 1], [0, 1, 0]])


def test_wrong_input_is_refused():
    with pytest.raises(ValueError, match="neither below 19 nor 255"):
        ConfusionMatrix().update(np.zeros((1, 1), np.uint8), np.full((1, 1), 19, np.uint8))
    with pytest.raises(ValueError, match=r"\(1, 2\)"):
        ConfusionMatrix().update(np.zeros((1, 1), np.uint8), np.zeros((1, 2), np.uint8))
    matrix = ConfusionMatrix()
    with pytest.raises(ValueError, match="different classes"):
        matrix += ConfusionMatrix(label_mapping("camvid"))
