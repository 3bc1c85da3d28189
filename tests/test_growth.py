"""Lines fitted to the counts of each shape."""

from __future__ import annotations

import pytest

from django_querybudget.budgets.growth import QueryGrowth
from django_querybudget.recording.records import QueryLog, RawRecord


def log_of(**counts: int) -> QueryLog:
    log = QueryLog()
    for table, count in counts.items():
        for number in range(count):
            sql = f"SELECT * FROM {table} WHERE id = %s"
            log.append(RawRecord(sql, (number,), False, "default", "sqlite", 0.0, 0.0))
    return log


def test_slope_and_intercept_of_each_shape() -> None:
    growth = QueryGrowth({2: log_of(job=1, picture=3), 8: log_of(job=1, picture=9)})
    steep, flat = growth.shapes
    assert steep.fingerprint == "SELECT * FROM picture WHERE id = ?"
    assert (steep.slope, steep.intercept, steep.counts) == (1.0, 1.0, (3, 9))
    assert (flat.slope, flat.intercept, flat.counts) == (0.0, 1.0, (1, 1))
    assert growth.above(0) == (steep,)
    assert growth.above(1.0) == ()


def test_least_squares_over_more_than_two_sizes() -> None:
    growth = QueryGrowth({1: log_of(a=1), 2: log_of(a=3), 3: log_of(a=2)})
    assert growth.total.slope == pytest.approx(0.5)
    assert growth.total.intercept == pytest.approx(1.0)


def test_a_shape_that_only_the_larger_size_has_grows() -> None:
    growth = QueryGrowth({2: log_of(), 4: log_of(a=1)})
    assert [shape.slope for shape in growth.above(0)] == [0.5]


def test_fewer_queries_with_more_rows_are_no_growth() -> None:
    assert QueryGrowth({2: log_of(a=5), 8: log_of(a=1)}).above(0) == ()


def test_sql_that_differs_at_each_size_is_seen_by_the_total() -> None:
    growth = QueryGrowth({2: log_of(a=10, b=10), 4: log_of(a=10, c=12)})
    # c is new, b is gone: no shape hides the two queries that came.
    assert {shape.fingerprint for shape in growth.above(0)} == {"SELECT * FROM c WHERE id = ?"}
    assert growth.total.slope == 1.0


def test_one_size_is_no_growth() -> None:
    with pytest.raises(ValueError, match="two different sizes"):
        QueryGrowth({2: log_of()})
