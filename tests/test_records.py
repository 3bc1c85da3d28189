"""QueryRecord and QueryLog: pure data, right in every reading of it."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from decimal import Decimal
from typing import Any

import pytest
from psycopg.types.json import Jsonb

from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.sql import fingerprints
from django_querybudget.sql.fingerprints import StatementKind
from django_querybudget.sql.memory import Memo


def log_of(*statements: tuple[str, Any], many: bool = False, alias: str = "default") -> QueryLog:
    log = QueryLog()
    for sql, params in statements:
        log.append(RawRecord(sql, params, many, alias, "sqlite", 1.0, 0.25))
    return log


def test_an_empty_log() -> None:
    log = QueryLog()
    assert (len(log), log.count, log.duration, log.queries, log.duplicates) == (0, 0, 0, (), ())
    assert log.by_fingerprint() == {}
    assert bool(log)


def test_a_record_is_frozen_and_has_every_field() -> None:
    [query] = log_of(("SELECT a FROM t WHERE b = %s", (3,)))
    assert query.params == (3,)
    assert (query.alias, query.vendor, query.started, query.duration) == (
        "default",
        "sqlite",
        1.0,
        0.25,
    )
    assert query.fingerprint == "SELECT a FROM t WHERE b = ?"
    assert query.kind is StatementKind.READ
    assert not query.failed
    with pytest.raises(FrozenInstanceError):
        query.sql = "SELECT 2"  # type: ignore[misc]


def test_parameters_are_not_in_the_repr_where_an_error_tracker_would_read_them() -> None:
    [query] = log_of(("SELECT %s", ("secret",)))
    assert "secret" not in repr(query)


def test_count_and_duration_leave_transactions_out() -> None:
    log = log_of(("BEGIN", None), ("SELECT 1", None), ("COMMIT", None))
    assert (log.count, log.duration) == (1, 0.25)
    assert [query.sql for query in log.transactions] == ["BEGIN", "COMMIT"]
    assert repr(log) == "<QueryLog: 1 queries, 250.0 ms>"


def test_duplicates_have_the_same_sql_parameters_and_alias() -> None:
    log = log_of(("SELECT %s", (1,)), ("SELECT %s", (1,)), ("SELECT %s", (2,)), ("SELECT 2", ()))
    log.append(RawRecord("SELECT %s", (1,), False, "other", "sqlite", 0.0, 0.0))
    log.append(RawRecord("SELECT %s", (1,), False, "default", "sqlite", 0.0, 0.0))
    assert log.duplicate_count == len(log.duplicates) == 2


@pytest.mark.parametrize(
    ("one", "other", "equal"),
    [
        ((1,), (True,), False),
        ((1,), (1.0,), False),
        ((1,), [1], True),
        (None, (), True),
        ({"a": 1}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        (([1, 2],), ([1, 2],), True),
        (([1, 2],), ([1, 3],), False),
        ((b"x",), (b"x",), True),
        ((memoryview(b"x"),), (memoryview(b"x"),), True),
        ((Jsonb({"a": 1}),), (Jsonb({"a": 1}),), True),
        ((Jsonb({"a": 1}),), (Jsonb({"a": 2}),), False),
        ((Decimal("sNaN"),), (Decimal(1),), False),
    ],
)
def test_parameters_that_a_database_tells_apart_are_no_duplicates(
    one: Any, other: Any, equal: bool
) -> None:
    log = log_of(("SELECT %s", one), ("SELECT %s", other))
    assert log.duplicate_count == (1 if equal else 0)


class Refusing(str):
    """A parameter that a driver takes, and that refuses everything else."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no comparing")

    def __hash__(self) -> int:
        raise RuntimeError("no hashing")

    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class Unasked(tuple[Any, ...]):
    """Parameters without a truth value, as an array's."""

    __slots__ = ()

    def __bool__(self) -> bool:
        raise ValueError("ambiguous")


def test_a_parameter_that_refuses_everything_costs_no_count() -> None:
    one, other = Refusing("a"), Refusing("a")
    log = log_of(("SELECT %s", (one,)), ("SELECT %s", (other,)), ("SELECT %s", (one,)))
    assert (log.count, log.duplicate_count) == (3, 1)
    log = log_of(("SELECT %s", Unasked((1,))), ("SELECT %s", Unasked((1,))), ("SELECT 1", object()))
    assert (log.count, log.duplicate_count) == (3, 1)


def test_transactions_and_executemany_are_no_duplicates() -> None:
    assert log_of(("SAVEPOINT a", None), ("SAVEPOINT a", None)).duplicate_count == 0
    insert = ("INSERT INTO t VALUES (%s)", None)
    assert log_of(insert, insert, many=True).duplicate_count == 0


def test_by_fingerprint_keeps_the_order_in_which_shapes_came() -> None:
    log = log_of(("SELECT 1", ()), ("DELETE FROM t", ()), ("SELECT 2", ()))
    shapes = log.by_fingerprint()
    assert list(shapes) == ["SELECT ?", "DELETE FROM t"]
    assert [query.sql for query in shapes["SELECT ?"]] == ["SELECT 1", "SELECT 2"]


def test_writes_are_told_by_their_text() -> None:
    log = log_of(
        ("SELECT 1", ()), ("UPDATE t SET a = 1", ()), ("WITH x AS (DELETE FROM t) SELECT 1", ())
    )
    assert len(log.writes) == 2


def test_a_log_may_be_read_while_it_is_written() -> None:
    log = log_of(("SELECT 1", ()))
    assert log.count == 1
    log.append(RawRecord("SELECT 1", (), False, "default", "sqlite", 0.0, 0.0))
    assert (log.count, log.duplicate_count, len(log.queries)) == (2, 1, 2)
    assert log.queries[0] is log.queries[0]
    assert log.duplicates[0] is log.queries[1]


def test_each_text_of_a_long_log_is_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    read: list[str] = []

    def shape(sql: str) -> str:
        read.append(sql)
        return sql

    monkeypatch.setattr(fingerprints, "_shapes", Memo(shape))
    log = log_of(*((f"SELECT a{number % 1500} FROM t", None) for number in range(4500)))
    shapes = log.by_fingerprint()
    assert {len(queries) for queries in shapes.values()} == {3}
    assert len(read) == len(set(read)) == 1500
