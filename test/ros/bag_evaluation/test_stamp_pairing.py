"""Pairing by stamp in a stream: what may be paired, and that waiting changes nothing."""

from hypothesis import example, given
from hypothesis import strategies as st

from querydiff_ros.bag_evaluation.stamp_pairing import ALWAYS_WAITING, MOST_BYTES, PATIENCE_NS, StampPairing

STAMPS = st.lists(st.integers(0, 400), max_size=40, unique=True).map(sorted)
TOLERANCES = st.integers(0, 30)


def pair(frames, ground_truths, tolerance, poll, delay=0):
    """Stream both kinds, frames `delay` later than they are stamped; `poll` asks after every message what is ready."""
    pairing = StampPairing(tolerance)
    found = []
    recorded = [(f + delay, True, f) for f in frames] + [(t, False, t) for t in ground_truths]
    for time, is_frame, stamp in sorted(recorded):
        if is_frame:
            pairing.add_frame(stamp, time, stamp, 1)
        else:
            pairing.add_ground_truth(stamp, time, stamp, 1)
        if poll:
            found += pairing.ready(time)
    return [*found, *pairing.rest()]


@given(STAMPS, STAMPS, TOLERANCES)
def test_pairs_are_near_unique_and_in_order(frames, ground_truths, tolerance):
    pairs = pair(frames, ground_truths, tolerance, poll=True)
    assert [frame for frame, _ in pairs] == frames
    taken = [(frame, ground_truth) for frame, ground_truth in pairs if ground_truth is not None]
    assert all(abs(frame - ground_truth) <= tolerance for frame, ground_truth in taken)
    assert len({ground_truth for _, ground_truth in taken}) == len(taken)
    assert {frame for frame, ground_truth in taken if frame == ground_truth} == set(frames) & set(ground_truths)


@given(STAMPS, STAMPS, TOLERANCES)
def test_a_ground_truth_whose_nearest_frame_has_no_nearer_ground_truth_is_paired(frames, ground_truths, tolerance):
    pairs = dict(pair(frames, ground_truths, tolerance, poll=True))
    for ground_truth in ground_truths:
        near = [frame for frame in frames if abs(frame - ground_truth) <= tolerance]
        alone = len(near) == 1 and [t for t in ground_truths if abs(near[0] - t) <= tolerance] == [ground_truth]
        if alone:
            assert pairs[near[0]] == ground_truth


@given(STAMPS, STAMPS, TOLERANCES)
def test_waiting_changes_nothing(frames, ground_truths, tolerance):
    assert pair(frames, ground_truths, tolerance, poll=True) == pair(frames, ground_truths, tolerance, poll=False)


@given(STAMPS, st.integers(1, 4), TOLERANCES, st.integers(-100, 100))
@example(frames=range(240), every=1, tolerance=0, delay=-60)
def test_frames_that_are_late_or_early_within_the_patience_find_their_ground_truth(frames, every, tolerance, delay):
    """Frames pause, begin late and end early, and ground truths, in steps of a hundredth of it, go on."""
    unit = PATIENCE_NS // 100
    ground_truths = range(0, 400 * unit, every * unit)
    found = [
        pair([f * unit for f in frames], ground_truths, tolerance * unit, poll, delay * unit) for poll in (True, False)
    ]
    assert found[0] == found[1]


def test_neither_frames_nor_ground_truths_wait_for_ever():
    pairing = StampPairing(0)
    pairing.add_frame(5, 5, "early", 1)
    assert list(pairing.ready(5 + PATIENCE_NS)) == []
    assert list(pairing.ready(6 + PATIENCE_NS)) == [("early", None)]
    for size, most in ((MOST_BYTES // 100, 100), (MOST_BYTES, ALWAYS_WAITING)):
        pairing = StampPairing(0)
        for index in range(1000):
            pairing.add_frame(100 + index, 100, index, size)
            list(pairing.ready(100))
        assert len(pairing._frames) == most
    for rate, size, most in ((10, 1, ALWAYS_WAITING), (100, 1, 101), (100, MOST_BYTES // 50, 50)):
        pairing = StampPairing(0)
        for time in range(0, 10 * PATIENCE_NS, PATIENCE_NS // rate):
            pairing.add_ground_truth(time, time, None, size)
            list(pairing.ready(time))
        assert len(pairing._ground_truths) == most
