"""Drives: frames of one street follow each other smoothly."""

from itertools import pairwise

import numpy as np
import pytest

from querydiff_core.errors import QueryDiffError
from querydiff_core.street_scenes import CONDITIONS, render_drive

SMALL = (96, 192)


def test_frames_stamps_conditions_and_camera():
    frames = list(render_drive(3, 10, SMALL, rate=20.0))
    assert [frame.condition for frame in frames] == [condition for condition in CONDITIONS for _ in range(2)]
    assert [frame.stamp for frame in frames] == [50_000_000 * number for number in range(10)]
    for frame in frames:
        assert frame.image.shape == (*SMALL, 3)
        assert frame.labels.shape == SMALL
        info = frame.camera_info
        assert (info.height, info.width) == SMALL
        assert info.focal_length == info.intrinsics[0, 0] == info.intrinsics[1, 1] > 0
        assert info.intrinsics[:2, 2] == pytest.approx([95.5, 47.5])


def test_the_same_seed_gives_the_same_drive():
    for first, second in zip(render_drive(3, 4, SMALL), render_drive(3, 4, SMALL), strict=True):
        assert np.array_equal(first.image, second.image)
        assert np.array_equal(first.labels, second.labels)


@pytest.mark.parametrize("seed", range(4))
def test_the_camera_moves_on_and_consecutive_frames_differ_little(seed):
    frames = list(render_drive(seed, 24, SMALL, rate=20.0, conditions=["clear"]))
    steps = [(a.labels != b.labels).mean() for a, b in pairwise(frames)]
    assert min(steps) > 0
    assert max(steps) < 0.2
    assert (frames[0].labels != frames[-1].labels).mean() > 1.5 * np.mean(steps)


def test_slower_frame_rates_take_larger_steps_along_the_same_drive():
    fast = list(render_drive(5, 9, SMALL, rate=20.0, conditions=["clear"]))
    slow = list(render_drive(5, 3, SMALL, rate=5.0, conditions=["clear"]))
    for frame, same in zip(slow, fast[::4], strict=True):
        assert frame.stamp == same.stamp
        assert np.array_equal(frame.labels, same.labels)


def test_the_street_stays_the_same_when_the_weather_changes():
    frames = list(render_drive(6, 8, SMALL, rate=30.0, conditions=["clear", "fog"]))
    change = (frames[3].labels != frames[4].labels).mean()
    usual = np.mean([(a.labels != b.labels).mean() for a, b in pairwise(frames[:4])])
    assert change < 3 * usual + 0.02


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"frames": 0}, "at least 1 frame"),
        ({"frames": 3, "rate": 0.0}, "rate above 0 Hz"),
        ({"frames": 3, "rate": float("nan")}, "rate above 0 Hz"),
        ({"frames": 3, "conditions": []}, "No condition given"),
        ({"frames": 3, "conditions": ["hail"]}, "No condition 'hail'"),
        ({"frames": 3, "size": (8, 8)}, "16 to 8192 pixels"),
    ],
)
def test_what_cannot_be_rendered_is_refused_at_once(arguments, message):
    with pytest.raises(QueryDiffError, match=message):
        render_drive(0, **{"size": SMALL, **arguments})
