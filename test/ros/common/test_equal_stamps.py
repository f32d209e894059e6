"""Messages of one stamp find each other, whatever the order, and nothing waits for ever."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from querydiff_ros.common.stamps import EqualStamps

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
