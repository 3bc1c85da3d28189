"""Keys: equal for the same question, and for no other."""

from __future__ import annotations

from datetime import UTC, date, datetime
from decimal import Decimal
from itertools import combinations
from typing import Any

import pytest

from accounts.models import CustomUser, Role
from django_querybudget.cache.keys import Unkeyable, entry_key, spelled


def kind(value: Any) -> str:
    """Return a test's id that is the same in every process."""
    return type(value).__name__


DIFFERENT = [
    1, "1", 1.0, True, None, b"1", Decimal(1), (1,), [1], (1, 2), ((1,), 2), {1}, {"a": 1},
    {"a": "1"}, date(2026, 1, 1), datetime(2026, 1, 1, tzinfo=UTC), "", (), memoryview(b"1"),
    Role.CLIENT,
    "client", CustomUser(pk=1), ("a,b",), ("a", "b"),
]  # fmt: skip


def test_different_values_are_spelled_differently() -> None:
    for one, other in combinations(DIFFERENT, 2):
        assert spelled(one) != spelled(other)


def test_equal_values_are_spelled_equally() -> None:
    assert spelled({"a": 1, "b": 2}) == spelled({"b": 2, "a": 1})
    assert spelled({"x", "y", "z"}) == spelled({"z", "y", "x"})


@pytest.mark.parametrize("value", [object(), CustomUser(), [object()], lambda: None], ids=kind)
def test_what_has_no_spelling(value: Any) -> None:
    with pytest.raises(Unkeyable):
        spelled(value)


def test_parts_of_a_key_do_not_run_together() -> None:
    assert entry_key("ab", "c") != entry_key("a", "bc")
    assert len(entry_key("a" * 10_000)) < 60
