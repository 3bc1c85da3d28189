"""One list in pieces, as drivers and hands spell it; what a parameter is compared by."""

from __future__ import annotations

from enum import Enum, IntEnum
from typing import Any
from uuid import UUID

import pytest
from django.utils.safestring import mark_safe

from django_querybudget.evidence import Filter
from django_querybudget.nplusone.batches import hashable, is_batched, is_inserted_in_batches
from django_querybudget.nplusone.parameters import split_varying, varies
from django_querybudget.recording.raw import RawRecord


def _raw(sql: str, params: Any = None) -> RawRecord:
    return RawRecord(sql, params, False, "default", "postgresql", started=0.0, duration=0.0)


@pytest.mark.parametrize(
    ("records", "expected"),
    [
        ([("id IN (%s, %s)", (1, 2)), ("id IN (%s, %s)", (3, 4)), ("id IN (%s)", (5,))], True),
        ([("id IN (%s,%s)", [1, 2]), ("id IN (%s,%s)", [3, 4])], True),
        ([("id in ( %s , %s )", (1, 2)), ("id in ( %s , %s )", (3, 4))], True),
        ([("id = ANY(%s)", ([1, 2],)), ("id = ANY(%s)", ([3],))], True),
        ([("id IN %s", ((1, 2),)), ("id IN %s", ((3, 4),))], True),
        ([("id IN (1, 2)", None), ("id IN (3, 4)", None), ("id IN (5)", None)], True),
        # Another value beside the list, a value in two lists, lists of one, lists that grow.
        (
            [("id IN (%s, %s) AND a = %s", (1, 2, 3)), ("id IN (%s, %s) AND a = %s", (4, 5, 6))],
            False,
        ),
        ([("id IN (%s, %s)", (1, 2)), ("id IN (%s, %s)", (2, 3))], False),
        ([("id IN (%s)", (1,)), ("id IN (%s)", (2,))], False),
        ([("id IN (%s, %s)", (1, 2)), ("id IN (%s, %s, %s)", (3, 4, 5))], False),
        ([("id = ANY(%s)", ("{1,2}",)), ("id = ANY(%s)", ("{3,4}",))], False),
        ([("id = %s", (1,)), ("id = %s", (2,))], False),
        ([("id IN (%s)", {"id": 1}), ("id IN (%s)", None)], False),
    ],
)
def test_a_list_in_pieces(records: list[tuple[str, Any]], expected: bool) -> None:
    assert (
        is_batched([_raw(f"SELECT 1 FROM t WHERE {sql}", own) for sql, own in records]) is expected
    )


def test_rows_in_pieces() -> None:
    two, one = "INSERT INTO t (a) VALUES (%s), (%s)", "INSERT INTO t (a) VALUES (%s)"
    assert is_inserted_in_batches([_raw(two), _raw(two), _raw(one)])
    assert not is_inserted_in_batches([_raw(one), _raw(one), _raw(one)])
    assert not is_inserted_in_batches([_raw(one), _raw(two)])
    assert not is_inserted_in_batches([_raw(two), _raw("SELECT %s, %s")])


class Colour(Enum):
    RED = "red"


class Size(IntEnum):
    SMALL = 1


class Own:
    def __repr__(self) -> str:
        raise RuntimeError("not to be asked")


def test_a_parameter_is_compared_by_what_a_driver_makes_of_it() -> None:
    key = "9a4c8f0e-0000-4000-8000-000000000001"
    assert hashable(mark_safe("a")) == hashable("a")
    assert hashable(Size.SMALL) == hashable(1)
    assert hashable(UUID(key)) == hashable(UUID(key))
    assert hashable(Colour.RED) == hashable(Colour.RED)
    own = Own()
    assert hashable((own, [own])) == hashable((own, [own]))
    assert hashable(own) != hashable(Own())
    assert len({hashable({"a": 1}), hashable({"a": 1}), hashable(None)}) == 2


class Int4(int):
    """What psycopg is given for a number."""

    def __repr__(self) -> str:
        return f"Int4({int(self)})"


def test_a_number_of_the_drivers_type_is_the_number() -> None:
    records = [_raw("SELECT 1", (key, Int4(3), "new")) for key in range(4)]
    assert not varies(records, (Filter("stars", 3), Filter("status", "new")))
    assert varies(records, (Filter("stars", 2),))


@pytest.mark.parametrize(
    ("filters", "params", "varying"),
    [
        ((Filter("a", 1), Filter("b", 2)), [(1, 2), (1, 3)], "b"),
        ((Filter("a", 1), Filter("b", 2)), [(1, 2), (4, 2)], "a"),
        # What is selected comes first, and is the same.
        ((Filter("a", 1), Filter("b", 2)), [(9, 1, 2), (9, 1, 3)], "b"),
        # None of its own, two of its own.
        ((Filter("a__isnull", True), Filter("b", 2)), [(2,), (3,)], "b"),
        ((Filter("a__in", [1, 2]), Filter("b", 2)), [(1, 2, 2), (1, 2, 3)], "b"),
        ((Filter("a", 1), Filter("b", 2)), [(1, 2), (3, 4)], None),
        ((Filter("a", 1),), [(1,), (1,)], None),
        ((), [(1,), (2,)], None),
        (None, [(1,), (2,)], None),
    ],
)
def test_the_condition_that_varies(
    filters: tuple[Filter, ...] | None, params: list[Any], varying: str | None
) -> None:
    found = split_varying([_raw("SELECT 1", own) for own in params], filters)
    assert (None if found is None else found[0].lookup) == varying
