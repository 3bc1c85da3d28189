"""Values come back as they were, by type and by value; nothing else is stored."""

from __future__ import annotations

import json
import math
import uuid
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget.cache.payload.values import (
    Unfreezable,
    freeze_column,
    freeze_value,
    thaw_column,
    thaw_value,
)


def kind(value: Any) -> str:
    """Return a test's id that is the same in every process."""
    return type(value).__name__


# ruff: noqa: DTZ001  # naive times are values, too
VALUES = [
    None, True, 0, -1, 2**80, 1.5, -0.0, "", "ü\ud800\x00", b"", b"\xff", Decimal("1.50"),
    Decimal("NaN"), uuid.uuid4(), date(2026, 1, 2), datetime(2026, 1, 2, 3, 4, 5, 6),
    datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 10, 25, 2, 30, fold=1),
    datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=ZoneInfo("Europe/Berlin")),
    time(1, 2), timedelta(days=-1, microseconds=7), [], {}, [1, [None]], {"a": {"b": [1.5]}},
    (1, "a"), {1: "a"}, [Decimal(1)], {"code": ["D", "1"]},
]  # fmt: skip


def same(one: Any, other: Any) -> bool:
    return type(one) is type(other) and repr(one) == repr(other)


def through_json(frozen: Any) -> Any:
    return json.loads(json.dumps(frozen))


@pytest.mark.parametrize("value", VALUES, ids=kind)
def test_a_value_comes_back(value: Any) -> None:
    assert same(thaw_value(through_json(freeze_value(value))), value)
    assert same(thaw_column(through_json(freeze_column([value, None]))), [value, None])


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.decimals()
    | st.dates() | st.datetimes() | st.binary() | st.uuids() | st.timedeltas(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner) | st.tuples(inner),
)  # fmt: skip


@given(st.lists(json_values))
def test_any_column_comes_back(values: list[Any]) -> None:
    assert same(thaw_column(through_json(freeze_column(values))), values)


def test_a_memoryview_comes_back() -> None:
    [thawed] = thaw_column(through_json(freeze_column([memoryview(b"abc")])))
    assert isinstance(thawed, memoryview)
    assert thawed == b"abc"


def test_what_comes_back_is_a_copy() -> None:
    value = {"a": [1]}
    frozen = through_json(freeze_column([value]))
    thaw_column(frozen)[0]["a"].append(2)
    assert value == {"a": [1]}


class Money(Decimal):
    """A type of the host's."""


@pytest.mark.parametrize(
    "value",
    [
        Money(1),
        object(),
        {1, 2},
        math.sin,
        datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=1))),
    ],
    ids=kind,
)
def test_another_type_is_not_stored(value: Any) -> None:
    with pytest.raises(Unfreezable):
        freeze_column([value])
    with pytest.raises(Unfreezable):
        freeze_value([value])


@pytest.mark.parametrize("frozen", [["?", 1], ["D", "x"], [], {"a": 1}, [["D"]]], ids=kind)
def test_what_was_never_written_is_refused(frozen: Any) -> None:
    with pytest.raises((KeyError, ValueError, IndexError, TypeError, ArithmeticError)):
        thaw_value(frozen)
