"""Steadiness of labels: what moves with the picture is steady, what flickers is not."""

import cv2
import numpy as np
import pytest

from querydiff_ros.bag_evaluation.temporal_consistency import TemporalConsistency

SECOND = 10**9
WORLD = cv2.resize(np.random.default_rng(0).integers(0, 256, (30, 80, 3), dtype=np.uint8), (800, 300))
STRIPES = np.kron(np.arange(10, dtype=np.uint8) % 19, np.ones((300, 80), np.uint8)).astype(np.uint8)


def seen(x):
    """Return what a camera sees that has moved by `x` pixels: the image and its labels, 240 x 480."""
    return np.ascontiguousarray(WORLD[:240, x : x + 480]), np.ascontiguousarray(STRIPES[:240, x : x + 480])


def consistency(frames, step=SECOND // 10):
    measure = TemporalConsistency()
    return [measure(index * step, *frame) for index, frame in enumerate(frames)]


def test_labels_that_move_with_the_picture_are_steady():
    first, *rest = consistency([seen(12 * index) for index in range(8)])
    assert first is None
    assert min(rest) > 0.95


def test_labels_that_stay_while_the_picture_moves_are_not():
    images = [seen(20 * index)[0] for index in range(6)]
    # Stripes are 80 pixels wide and the picture moves by 20: a quarter of the pixels gets another label.
    shares = consistency([(image, seen(0)[1]) for image in images])[1:]
    assert np.mean(shares) == pytest.approx(0.75, abs=0.05)


@pytest.mark.parametrize("share", [0.25, 0.5])
def test_flicker_is_counted(share):
    image, labels = seen(0)
    flickering = labels.copy()
    flickering[: round(240 * share)] = 18
    assert consistency([(image, labels), (image, flickering)])[1] == pytest.approx(1 - share, abs=0.02)


def test_nothing_is_said_over_gaps_and_of_what_cannot_be_followed():
    image, labels = seen(0)
    assert consistency([(image, labels)] * 2, step=2 * SECOND) == [None, None]
    assert consistency([(np.zeros_like(image), labels), (np.full_like(image, 255), labels)]) == [None, None]
    measure = TemporalConsistency()
    assert measure(0, image, labels) is None
    assert measure(SECOND // 10, image[:120], labels[:120]) is None
