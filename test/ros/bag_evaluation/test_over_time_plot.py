"""What the picture of a drive shows, seen in its pixels."""

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from querydiff_ros.bag_evaluation.measurements import FrameScore
from querydiff_ros.bag_evaluation.over_time_plot import GROUNDS, over_time_plot

LINES = ("C0", "C1", "C2")


def frames(count, mious=None, condition=lambda index: "fog", confidence=None):
    shares = mious or [0.5] * count
    return [FrameScore(10**18 + i * 10**8, condition(i), shares[i], None, confidence, None) for i in range(count)]


def columns(picture, color):
    """Return in which columns the color is seen."""
    rgb = (255 * np.array(to_rgb(color))).round().astype(np.uint8)
    return np.nonzero((picture == rgb).all(-1).any(0))[0]


def test_a_stretch_of_a_condition_lasts_until_the_next_one_begins():
    picture = over_time_plot("drive", frames(101, condition=lambda index: "fog" if index < 25 else "snow"))
    fog, snow = (columns(picture[200:], ground) for ground in GROUNDS[:2])
    whole = snow.max() - fog.min()
    assert np.ptp(fog) == pytest.approx(0.25 * whole, abs=4)
    assert np.ptp(snow) == pytest.approx(0.75 * whole, abs=4)


def test_the_line_breaks_where_a_share_is_not_known():
    whole, broken = (
        columns(over_time_plot("drive", frames(100, mious))[200:], "C0")
        for mious in ([0.5] * 100, [0.5] * 40 + [None] * 20 + [0.5] * 40)
    )
    assert np.diff(whole).max() == 1
    assert np.diff(broken).max() == pytest.approx(0.21 * np.ptp(whole), abs=6)


def test_there_is_a_strip_for_what_is_known():
    one, two = over_time_plot("drive", frames(9)), over_time_plot("drive", frames(9, confidence=0.9))
    assert [len(columns(one, line)) > 0 for line in LINES] == [True, False, False]
    assert [len(columns(two, line)) > 0 for line in LINES] == [True, True, False]
    assert two.shape[0] > one.shape[0] + 150
    assert one.shape[1] == two.shape[1] == 1200


@pytest.mark.parametrize("scores", [frames(1), frames(1, [None]), frames(30, condition=lambda index: f"$c_{index}$")])
def test_one_frame_nothing_known_and_many_conditions_can_be_drawn(scores, recwarn):
    picture = over_time_plot("a $\\frac$ title", scores)
    assert picture.std() > 5
    assert not recwarn.list
