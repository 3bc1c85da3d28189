"""What is remembered of a question holds only as long as all that decided it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections

from django_querybudget.cache import cache_stats, cached_queryset, relations
from django_querybudget.cache.reading import questions
from django_querybudget.cache.reading.questions import rows_question
from django_querybudget.sql import memory
from jobs.models import Industry
from tests.cache.relations.models import Shouting

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres", "default"])


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    for alias in ("default", "postgres"):
        Industry.objects.using(alias).create(pk=1, name="one")
    cache_stats(reset=True)


def read(alias: str = "default") -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.using(alias).filter(pk=1))]


@cached_queryset
def decorated(pk: int, alias: str = "default") -> Any:
    return Industry.objects.using(alias).filter(pk=pk)


def read_decorated(alias: str = "default") -> list[str]:
    return [each.name for each in decorated(1, alias)]


def hits() -> int:
    found = cache_stats().hits
    cache_stats(reset=True)
    return found


@pytest.mark.parametrize(
    ("reader", "changed"),
    [
        (read, {"NEVER_STORE": ["jobs.Industry"]}),
        (read, {"IGNORED_TABLES": ["jobs_industry"]}),
        (read, {"IDENTITY": {"default": "another"}}),
        (read_decorated, {"IDENTITY": {"default": "another"}}),
    ],
)
def test_settings_that_change_after_a_hit_count(
    reader: Callable[[], list[str]], changed: dict[str, Any], settings: Any
) -> None:
    for _ in range(3):
        assert reader() == ["one"]
    assert hits()
    settings.QUERYBUDGET = {"CACHE": changed}
    assert reader() == ["one"]
    assert hits() == 0


def test_row_level_security_that_comes_after_a_hit_counts() -> None:
    for _ in range(3):
        assert read("postgres") == ["one"]
    assert hits()
    with connections["postgres"].cursor() as cursor:
        cursor.execute("ALTER TABLE jobs_industry ENABLE ROW LEVEL SECURITY")
    try:
        assert read("postgres") == ["one"]  # by the table's owner
        assert hits() == 0
        assert "row-level security of jobs_industry" in str(questions_refused())
    finally:
        with connections["postgres"].cursor() as cursor:
            cursor.execute("ALTER TABLE jobs_industry DISABLE ROW LEVEL SECURITY")
        relations.forget()


def questions_refused() -> Exception:
    queryset = cached_queryset(Industry.objects.using("postgres").filter(pk=1))
    with pytest.raises(questions.CannotCache) as raised:
        rows_question(queryset)
    return raised.value


def test_a_view_that_is_another_after_a_hit_counts() -> None:
    def run(sql: str) -> None:
        with connections["postgres"].cursor() as cursor:
            cursor.execute(sql)

    name = Shouting._meta.db_table
    run(f"CREATE VIEW {name} AS SELECT id, name FROM jobs_industry")
    try:
        queryset = cached_queryset(Shouting.objects.using("postgres"))
        rows_question(queryset)
        rows_question(queryset)
        once = "WHERE now() > '1970-01-01'"
        run(f"CREATE OR REPLACE VIEW {name} AS SELECT id, name FROM jobs_industry {once}")
        with pytest.raises(questions.CannotCache, match="function now"):
            rows_question(queryset)
    finally:
        run(f"DROP VIEW {name}")


def test_a_variable_that_is_set_after_a_hit_is_another_question() -> None:
    queryset = cached_queryset(Industry.objects.using("postgres").filter(pk=1))
    before = rows_question(queryset)
    assert rows_question(queryset).key == before.key
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SET search_path TO public, pg_catalog")
        try:
            assert rows_question(queryset).key != before.key
        finally:
            cursor.execute("RESET search_path")
    assert rows_question(queryset).key == before.key


def test_what_is_remembered_of_one_value_is_not_told_of_another() -> None:
    asked = [
        rows_question(cached_queryset(Industry.objects.filter(**which)))
        for which in ({"pk": 1}, {"pk": 2}, {"name": "1"}, {"name": "2"}, {"pk": 1}, {"name": "1"})
    ]
    assert len({each.key for each in asked}) == 4
    assert asked[0].key == asked[4].key
    assert any(tag.endswith(":r:jobs_industry:1") for tag in asked[4].expected)
    assert not any(tag.endswith(":r:jobs_industry:1") for tag in asked[1].expected)


def test_equal_values_of_two_types_are_two_questions() -> None:
    queryset: Any = cached_queryset(Industry.objects.filter(pk=1))
    options = queryset._querybudget_options
    connection = connections["default"]
    shape = questions._shape_of(queryset, "models ", options, connection, "SELECT 1", (), False)
    keys = {
        questions._ask(queryset, shape, options, (value,), connection, False).key
        for value in (1, True)
    }
    assert len(keys) == 2


def test_options_that_are_equal_are_one_object_and_others_are_not() -> None:
    queryset = Industry.objects.all()
    first, same, other = (
        cached_queryset(queryset, 60, key=key)._querybudget_options  # type: ignore[attr-defined]
        for key in ("a", "a", "b")
    )
    assert first is same
    assert first is not other
    keys = {rows_question(cached_queryset(queryset, 60, key=key)).key for key in ("a", "b")}
    assert len(keys) == 2


def test_nothing_is_remembered_by_the_values_of_a_text_that_is_not() -> None:
    before = {**questions._asked, **questions._asked._old}
    for first in range(3):
        names = [f"{first} {number}" for number in range(3000)]
        question = rows_question(cached_queryset(Industry.objects.filter(name__in=names)))
        assert len(question.shape) > memory.LONGEST
    assert {**questions._asked, **questions._asked._old}.keys() <= before.keys()


def test_what_is_remembered_of_many_values_has_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    budget = 200_000
    monkeypatch.setattr(memory, "BUDGET", budget)
    before = memory._pool.young
    monkeypatch.setattr(memory._pool, "young", 0)
    for number in range(600):
        rows_question(cached_queryset(Industry.objects.filter(name=f"{number}" * 50)))
    held = {**questions._asked, **questions._asked._old}
    assert 0 < sum(map(memory._weight, (part for each in held for part in each))) < budget
    assert len(held) < 600
    memory._pool.young = before
