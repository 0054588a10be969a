import threading
import time

import pytest

from medsr_lib.data import parallel


def test_results_come_in_order_whatever_takes_long():
    def slow_at_first(n):
        time.sleep(0.02 if n < 2 else 0)
        return 10 * n

    assert list(parallel.ordered(slow_at_first, range(9), workers=3)) == [10 * n for n in range(9)]


def test_only_few_results_are_ahead_of_the_reader():
    begun = []
    results = parallel.ordered(begun.append, range(1000), workers=2)
    next(results)
    time.sleep(0.02)
    assert len(begun) <= parallel.AHEAD * 2
    results.close()


def test_an_exception_comes_where_its_result_would_and_threads_end():
    results = parallel.ordered(lambda n: 1 / (3 - n), range(50), workers=2)
    assert [next(results) for _ in range(3)] == [1 / 3, 1 / 2, 1]
    with pytest.raises(ZeroDivisionError):
        next(results)
    assert threading.active_count() < 50


def test_no_items():
    assert list(parallel.ordered(abs, [])) == []


def test_refuses_no_workers():
    with pytest.raises(ValueError, match="workers must be at least 1, got 0"):
        list(parallel.ordered(abs, [1], workers=0))
