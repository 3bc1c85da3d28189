"""Which functions in SQL depend on more than their arguments."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections
from django.db.models import Func, Max, QuerySet, TextField
from django.db.models.functions import MD5, Now, Random
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cache_stats, cached_queryset
from django_querybudget.cache.reading.dependencies import refused
from django_querybudget.cache.sql_functions import tell_time, unknown_functions
from jobs.models import Industry


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT COUNT("a"."id"), LOWER("a"."b") FROM "a" WHERE "a"."c" IN (1, 2)',
        'SELECT "now" FROM "current_date"',
        "SELECT 1 FROM a WHERE b = 'random()'",
        'SELECT DATE_TRUNC(\'day\', "a"."b") FROM "a"',
        'SELECT django_date_trunc(%s, "a"."b") FROM "a"',
        'WITH "c" ("x") AS (SELECT 1) SELECT x FROM c',
        "SELECT CAST(a AS numeric(10, 2)), b::varchar(10) FROM t",
        "SELECT ROW_NUMBER() OVER (PARTITION BY a ORDER BY b) FROM t",
    ],
)
def test_constant(sql: str) -> None:
    vendor = "sqlite" if "django_" in sql else "postgresql"
    assert unknown_functions(sql, vendor) == ()


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT RANDOM()", "random"),
        ("SELECT a FROM t ORDER BY RAND() ASC", "rand"),
        ("SELECT STATEMENT_TIMESTAMP()", "statement_timestamp"),
        ("SELECT CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"),
        ("SELECT datetime()", "datetime()"),
        ("SELECT datetime('now')", "now"),
        ("SELECT nextval('s')", "nextval"),
        ("SELECT own_function (a) FROM t", "own_function"),
        ('SELECT "own"(a) FROM t', "own"),
        ("SELECT @x := 1", "@x"),
        ("SELECT a FROM t TABLESAMPLE SYSTEM (1)", "TABLESAMPLE"),
    ],
)
def test_not_constant(sql: str, name: str) -> None:
    vendor = "mysql" if "@" in sql else "sqlite"
    assert name in unknown_functions(sql, vendor)


def test_the_projects_own_functions_can_be_declared(settings: Any) -> None:
    sql = "SELECT own_function(a) FROM t"
    assert unknown_functions(sql, "sqlite", frozenset({"own_function"})) == ()
    assert refused(sql, connection) == "function own_function"
    settings.QUERYBUDGET = {"CACHE": {"FUNCTIONS": ["own_function"]}}
    assert refused(sql, connection) is None


def test_a_parameter_can_tell_the_time() -> None:
    assert tell_time(["a", " NOW "])
    assert not tell_time(["a", 1, None, "nowhere"])


Rows = QuerySet[Industry]
DEPENDENT: dict[str, Callable[[Rows], Any]] = {
    "now": lambda rows: list(rows.annotate(at=Now())),
    "now in a condition": lambda rows: rows.annotate(at=Now()).filter(at__isnull=False).count(),
    "now in an aggregate": lambda rows: rows.aggregate(at=Max(Now())),
    "random": lambda rows: list(rows.annotate(at=Random()).values_list("at")),
    "random order": lambda rows: list(rows.order_by("?")),
    "standard SQL": lambda rows: list(rows.extra(select={"at": "CURRENT_TIMESTAMP"})),
    "its own": lambda rows: rows.annotate(at=_its_own(rows)).first(),
}


def _its_own(rows: Rows) -> Func:
    names = {"sqlite": "changes", "postgresql": "clock_timestamp", "mysql": "UUID"}
    return Func(function=names[connections[rows.db].vendor], output_field=TextField())


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("name", DEPENDENT)
def test_each_database_is_asked_what_depends_on_more(vendor_alias: str, name: str) -> None:
    caches["default"].clear()
    cache_stats(reset=True)
    Industry.objects.using(vendor_alias).create(name="a")
    for _ in range(2):
        with CaptureQueriesContext(connections[vendor_alias]) as queries:
            DEPENDENT[name](cached_queryset(Industry.objects.using(vendor_alias)))
        assert len(queries) == 1
    stats = cache_stats()
    assert (sum(stats.bypasses.values()), stats.stores, stats.hits) == (2, 0, 0)
    assert all(reason.startswith("function ") for reason in stats.bypasses)


@pytest.mark.django_db(transaction=True)
def test_each_database_is_asked_once_what_depends_on_its_arguments(vendor_alias: str) -> None:
    caches["default"].clear()
    cache_stats(reset=True)
    Industry.objects.using(vendor_alias).create(name="a")
    for expected in (1, 0):
        with CaptureQueriesContext(connections[vendor_alias]) as queries:
            rows = cached_queryset(Industry.objects.using(vendor_alias).annotate(h=MD5("name")))
            assert [row.h for row in rows] == ["0cc175b9c0f1b6a831c399e269772661"]
        assert len(queries) == expected
