"""Budget.check(): every dimension, and what is no budget."""

from __future__ import annotations

from typing import Any

import pytest

from django_querybudget.budgets.budget import DIMENSIONS, Budget, Violation
from django_querybudget.recording.records import QueryLog, RawRecord


def log_of(*queries: tuple[str, Any], alias: str = "default", seconds: float = 0.001) -> QueryLog:
    log = QueryLog()
    for sql, params in queries:
        log.append(RawRecord(sql, params, False, alias, "sqlite", 0.0, seconds))
    return log


JOB = "SELECT * FROM job WHERE id = %s"
MIXED = log_of((JOB, (1,)), (JOB, (1,)), (JOB, (2,)), ("UPDATE job SET a = %s", (3,)))


@pytest.mark.parametrize(
    ("dimension", "actual"),
    [("max_queries", 4), ("duplicates", 1), ("similar", 2), ("writes", 1), ("duration", 0.004)],
)
def test_each_dimension_is_measured_and_may_reach_its_limit(dimension: str, actual: float) -> None:
    within: Any = {dimension: actual if dimension != "duration" else 0.0041}
    below: Any = {dimension: actual - 1 if dimension != "duration" else 0.0039}
    assert Budget(**within).check(MIXED) == ()
    assert [
        (violation.dimension, violation.limit, round(violation.actual, 6))
        for violation in Budget(**below).check(MIXED)
    ] == [(dimension, below[dimension], actual)]


def test_violations_come_in_the_order_of_the_dimensions() -> None:
    log = log_of((JOB, (1,)), (JOB, (1,)), ("UPDATE job SET a = %s", (3,)))
    log.append(RawRecord(JOB, (2,), False, "default", "postgresql", 0.0, 0.001, rowcount=1))
    budget = Budget(0, duplicates=0, similar=0, writes=0, rows=0, duration=0)
    assert [violation.dimension for violation in budget.check(log)] == list(DIMENSIONS)


def test_transaction_control_counts_in_no_dimension() -> None:
    log = log_of(("SAVEPOINT a", None), ("SAVEPOINT b", None), ("RELEASE SAVEPOINT b", None))
    assert Budget(0, duplicates=0, similar=0, writes=0, duration=0).check(log) == ()


def test_using_leaves_out_other_databases() -> None:
    log = log_of((JOB, (1,)))
    log.append(RawRecord(JOB, (1,), False, "replica", "sqlite", 0.0, 0.001))
    assert Budget(1, using="default").check(log) == ()
    assert Budget(0, using=["replica"]).check(log) == (
        Violation(dimension="max_queries", limit=0, actual=1),
    )
    assert Budget(1).check(log) == (Violation(dimension="max_queries", limit=1, actual=2),)


def test_one_shape_on_two_databases_does_not_repeat() -> None:
    log = log_of((JOB, (1,)))
    log.append(RawRecord(JOB, (1,), False, "replica", "sqlite", 0.0, 0.001))
    assert Budget(duplicates=0, similar=0).check(log) == ()


@pytest.mark.parametrize(
    ("limits", "error", "names"),
    [
        ({"max_queries": -1}, ValueError, "max_queries is -1"),
        ({"max_queries": 1.5}, TypeError, "max_queries is 1.5"),
        ({"max_queries": True}, TypeError, "max_queries is True"),
        ({"max_queries": "3"}, TypeError, "max_queries is '3'"),
        ({"duplicates": -2}, ValueError, "duplicates is -2"),
        ({"writes": 0.5}, TypeError, "writes is 0.5"),
        ({"duration": -0.1}, ValueError, "duration is -0.1"),
        ({"duration": float("nan")}, ValueError, "duration is nan"),
        ({"duration": "1s"}, TypeError, "duration is '1s'"),
        ({"max_queries": 1, "using": [3]}, TypeError, "by alias, a string; got 3"),
        ({"max_queries": 1, "using": 3}, TypeError, "by alias, a string; got 3"),
        ({"max_queries": 1, "using": []}, ValueError, r"using=\[\] names no database"),
        ({}, TypeError, "at least one of: max_queries"),
    ],
)
def test_a_bad_budget_is_refused_by_name_and_value(
    limits: dict[str, Any], error: type[Exception], names: str
) -> None:
    with pytest.raises(error, match=names):
        Budget(**limits)


def test_of_takes_a_number_a_dict_and_a_budget() -> None:
    assert Budget.of(3) == Budget(3)
    assert Budget.of({"max_queries": 3, "duplicates": 0}) == Budget(3, duplicates=0)
    assert Budget.of(Budget(3)) == Budget(3)


def test_of_names_an_unknown_dimension() -> None:
    with pytest.raises(TypeError, match="'querys' is no dimension of a budget: max_queries"):
        Budget.of({"querys": 3})
