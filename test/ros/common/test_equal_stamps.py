"""Messages of one stamp, or of near ones, find each other, and nothing waits or is kept for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from querydiff_ros.common.stamps import EqualStamps, NearestStamp

ARRIVALS = st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 12)), max_size=60, unique=True)


@given(ARRIVALS)
def test_all_that_can_be_paired_is_paired(arrivals: list[tuple[str, int]]) -> None:
    pairs = EqualStamps[tuple[str, int]]("ab", capacity=13)
    found = [pair for topic, stamp in arrivals if (pair := pairs.add(topic, stamp, (topic, stamp)))]
    both = {stamp for topic, stamp in arrivals if topic == "a"} & {stamp for topic, stamp in arrivals if topic == "b"}
    assert {pair["a"][1] for pair in found} == both
    assert all(pair == {"a": ("a", pair["a"][1]), "b": ("b", pair["a"][1])} for pair in found)
    assert pairs.matched == len(both)
    assert not pairs.unmatched


@given(ARRIVALS, st.integers(1, 4))
def test_what_waits_is_bounded_and_every_message_is_accounted_for(
    arrivals: list[tuple[str, int]], capacity: int
) -> None:
    pairs = EqualStamps[int]("ab", capacity)
    for topic, stamp in arrivals:
        pairs.add(topic, stamp, stamp)
    sent = Counter(topic for topic, _ in arrivals)
    for topic, count in sent.items():
        assert 0 <= count - pairs.matched - pairs.unmatched[topic] <= capacity


def test_no_overlap_is_a_problem_only_when_every_topic_speaks() -> None:
    pairs = EqualStamps[int](("label", "truth"), capacity=2)
    for stamp in range(5):
        pairs.add("label", stamp * 10**9, stamp)
    assert pairs.unmatched == {"label": 3}
    assert pairs.problem() is None
    pairs.add("truth", 100 * 10**9, 0)
    assert str(pairs.problem()).startswith("No stamps are equal (label at 4.000 s, truth at 100.000 s): ")
    pairs.add("label", 100 * 10**9, 0)
    assert pairs.problem() is None


def fill(pairs: EqualStamps[str], topic: str, stamps: list[int], run: str) -> list[dict[str, str]]:
    """Add messages at these seconds; return the pairs that they complete."""
    return [pair for stamp in stamps if (pair := pairs.add(topic, stamp * 10**9, run))]


def test_nothing_pairs_across_a_restart_and_what_waited_is_counted() -> None:
    pairs = EqualStamps[str](("label", "truth"), capacity=30)
    assert fill(pairs, "label", [1, 2, 3, 4], "first") == []
    assert len(fill(pairs, "truth", [1, 4], "first")) == 2
    # The truth begins again, and is three frames ahead of the label, as a simulator is of the engine.
    assert fill(pairs, "truth", [1, 2, 3], "second") == []
    assert fill(pairs, "label", [1, 2, 3], "second") == [{"label": "second", "truth": "second"}] * 3
    assert pairs.unmatched == {"label": 2}


def test_a_straggler_of_the_run_before_does_not_wait_for_the_next() -> None:
    pairs = EqualStamps[str](("label", "truth"), capacity=30)
    fill(pairs, "label", [1, 2, 7], "first")
    fill(pairs, "truth", [1, 2, 7, 8], "first")
    fill(pairs, "truth", [1], "second")
    fill(pairs, "label", [8], "first")
    fill(pairs, "label", [1, 2], "second")
    assert fill(pairs, "truth", [2, 8], "second") == [{"label": "second", "truth": "second"}]


def test_a_node_that_starts_after_a_restart_is_paired() -> None:
    pairs = EqualStamps[str](("label", "truth"), capacity=30)
    fill(pairs, "truth", [1, 2, 3], "first")
    fill(pairs, "truth", [1, 2, 3], "second")
    assert fill(pairs, "label", [2, 3], "second") == [{"label": "second", "truth": "second"}] * 2


def test_of_messages_without_stamps_the_newest_pair_up() -> None:
    pairs = EqualStamps[str](("label", "confidence"), capacity=30)
    found = []
    for index in range(5):
        found += fill(pairs, "label", [0], f"frame {index}")
        found += fill(pairs, "confidence", [0], f"frame {index}") if index != 1 else []  # one is lost
    assert [pair["label"] for pair in found] == ["frame 0", "frame 2", "frame 3", "frame 4"]
    assert all(pair["label"] == pair["confidence"] for pair in found)
    assert pairs.unmatched == {"label": 1}


def test_what_waits_is_given_up_after_further_stamps_that_pair() -> None:
    pairs = EqualStamps[str](("label", "truth"), capacity=3)
    fill(pairs, "label", [1], "alone")
    for stamp in (2, 3):
        fill(pairs, "label", [stamp], "paired")
        fill(pairs, "truth", [stamp], "paired")
    assert not pairs.unmatched
    fill(pairs, "label", [4], "paired")
    assert pairs.unmatched == {"label": 1}


def test_a_topic_that_never_speaks_is_named() -> None:
    pairs = EqualStamps[str](("label", "confidence"), capacity=2)
    assert pairs.silent() == []
    fill(pairs, "label", [1, 2, 3], "alone")
    assert pairs.silent() == ["confidence"]


def test_of_measurements_without_stamps_the_newest_is_nearest() -> None:
    kept = NearestStamp[str](keep_ns=10)
    for number in range(100):
        kept.add(0, f"scan {number}")
    assert kept.nearest(0) == (0, "scan 99")
    kept.add(10, "later")
    assert [kept.nearest(stamp) for stamp in (4, 6)] == [(0, "scan 99"), (10, "later")]
    kept.add(11, "latest")  # what lies too far back is forgotten
    assert kept.nearest(0) == (10, "later")
