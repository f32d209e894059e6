"""Work in threads: in order, not far ahead, and stopped by what goes wrong."""

import pytest

from querydiff_core.utils.parallel import each


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_results_come_in_order_and_a_failure_in_its_place(workers):
    assert list(each(lambda item: 100 // item, range(1, 30), workers)) == [100 // item for item in range(1, 30)]
    found = each(lambda item: 100 // item, [50, 20, 0, 10], workers)
    assert [next(found), next(found)] == [2, 5]
    with pytest.raises(ZeroDivisionError):
        next(found)
    assert list(each(len, [], workers)) == []


def test_threads_are_at_most_two_items_each_ahead():
    started = []
    results = each(started.append, range(1000), 2)
    next(results)
    assert len(started) <= 5
    next(results)
    results.close()
    assert len(started) <= 6
