"""What a Result keeps of a bag, as values and as JSON."""

import json

import pytest

from querydiff_ros.bag_evaluation.measurements import BagEntry, ConditionSummary, FrameScore, OnlineStatistics

SECOND = 10**9


def score(confidence, consistency):
    return FrameScore(0, "fog", None, None, confidence, consistency)


def entry(online=None):
    conditions = {"fog": ConditionSummary(2, 0.5, None)}
    return BagEntry("a", "f00", "/front/image", None, None, 3, 1, 0, 2, "50", conditions, online)


def statistics(seconds_apart, speed):
    """Return those of 11 frames, 0.1 s apart in the drive, of which every second one is labelled after 20 ms."""
    sent = {index * SECOND // 10: round(index * seconds_apart * SECOND) for index in range(11)}
    labelled = {stamp: time + 20_000_000 for index, (stamp, time) in enumerate(sent.items()) if index % 2}
    return OnlineStatistics.of(sent, labelled, speed)


def test_a_condition_is_summed_up_over_what_is_known():
    summary = ConditionSummary.of([score(0.2, None), score(0.4, 0.9), score(None, 0.7)])
    assert summary.frames == 3
    assert (summary.confidence, summary.temporal_consistency) == (pytest.approx(0.3), pytest.approx(0.8))
    assert ConditionSummary.of([score(None, None)]) == ConditionSummary(1, None, None)


def test_online_statistics_are_what_arithmetic_says():
    measured = statistics(0.05, speed=2.0)
    assert (measured.frames_published, measured.frames_labelled) == (11, 5)
    assert measured.drop_rate == pytest.approx(6 / 11)
    assert (measured.rate_wanted_hz, measured.rate_published_hz, measured.rate_labelled_hz) == (20, 20, 10)
    assert vars(measured.latency_from_stamp_ms) == {"p50": 20, "p90": 20, "p99": 20, "max": 20}
    assert not measured.too_slow


def test_a_drive_is_too_slow_below_nine_tenths_of_the_wanted_rate():
    assert statistics(0.1, speed=2.0).too_slow
    assert not statistics(0.054, speed=2.0).too_slow
    assert statistics(0.1, speed=0.0).rate_wanted_hz is None
    assert not statistics(0.1, speed=0.0).too_slow


@pytest.mark.parametrize("online", [None, statistics(0.1, 1.0)])
def test_an_entry_is_read_as_it_was_written(online):
    raw = json.loads(json.dumps(entry(online).to_json()))
    assert BagEntry.from_json(raw) == entry(online)
    assert ("online" in raw) == (online is not None)
    assert raw["conditions"] == {"fog": {"frames": 2, "confidence": 0.5, "temporal_consistency": None}}
    assert list(raw)[:11] == [
        "bag",
        "fingerprint",
        "image",
        "ground_truth",
        "damage",
        "frames",
        "frames_rejected",
        "frames_with_ground_truth",
        "frames_labelled",
        "labels_sha256",
        "conditions",
    ]
