"""One line that asks two databases: what it asks each of them is a loop of its own."""

from __future__ import annotations

import pytest

from django_querybudget import capture_queries
from django_querybudget.nplusone import find_nplusone
from django_querybudget.nplusone.detection import find_loops

from .models import Tag

pytestmark = pytest.mark.django_db(databases=["default", "other"])


def ask(aliases: list[str], times: int) -> None:
    for number in range(times):
        for alias in aliases:
            Tag.objects.using(alias).filter(pk=number).exists()


def test_what_each_database_is_asked_is_counted_by_itself() -> None:
    with capture_queries() as log:
        ask(["default", "other"], 3)
    assert log.count == 6
    assert find_loops(log, 4) == ()
    assert find_nplusone(log, threshold=4) == ()
    loops = find_loops(log, 3)
    assert [(loop.alias, len(loop.records)) for loop in loops] == [("default", 3), ("other", 3)]
    for loop in loops:
        assert {raw.alias for raw in loop.records} == {loop.alias}


def test_a_loop_over_one_of_them_says_which() -> None:
    with capture_queries() as log:
        ask(["default"], 1)
        ask(["other"], 3)
    assert [(loop.alias, len(loop.records)) for loop in find_loops(log, 3)] == [("other", 3)]
