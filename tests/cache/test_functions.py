"""Which functions in SQL depend on more than their arguments."""

from __future__ import annotations

from typing import Any

import pytest

from django_querybudget.cache.functions import tell_time, unknown_functions
from django_querybudget.cache.reads import refused


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
    assert unknown_functions(sql) == ()


@pytest.mark.parametrize(
    ("sql", "name"),
    [
        ("SELECT RANDOM()", "RANDOM"),
        ("SELECT a FROM t ORDER BY RAND() ASC", "RAND"),
        ("SELECT STATEMENT_TIMESTAMP()", "STATEMENT_TIMESTAMP"),
        ("SELECT CURRENT_TIMESTAMP", "CURRENT_TIMESTAMP"),
        ("SELECT datetime()", "datetime()"),
        ("SELECT datetime('now')", "'now'"),
        ("SELECT nextval('s')", "nextval"),
        ("SELECT own_function (a) FROM t", "own_function"),
        ('SELECT "own"(a) FROM t', "a quoted name"),
        ("SELECT @x := 1", "@x"),
        ("SELECT a FROM t TABLESAMPLE SYSTEM (1)", "TABLESAMPLE"),
    ],
)
def test_not_constant(sql: str, name: str) -> None:
    assert name in unknown_functions(sql)


def test_the_projects_own_functions_can_be_declared(settings: Any) -> None:
    sql = "SELECT own_function(a) FROM t"
    assert unknown_functions(sql, frozenset({"own_function"})) == ()
    assert refused(sql) == "function own_function"
    settings.QUERYBUDGET = {"CACHE": {"FUNCTIONS": ["own_function"]}}
    assert refused(sql) is None


def test_a_parameter_can_tell_the_time() -> None:
    assert tell_time(["a", " NOW "])
    assert not tell_time(["a", 1, None, "nowhere"])
