"""``IGNORE_QUERIES``: left out by table, by SQL or by who asks; and what a bad value says."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection

from django_querybudget import capture_queries
from django_querybudget.conf import conf
from django_querybudget.recording.ignoring import leaving_out
from jobs.models import Industry, Subcategory

pytestmark = pytest.mark.django_db


@pytest.fixture
def ignore(settings: Any) -> Any:
    def use(**kinds: Any) -> None:
        settings.QUERYBUDGET = {**settings.QUERYBUDGET, "IGNORE_QUERIES": kinds}

    return use


def audit() -> None:
    Industry.objects.count()


class Auditor:
    def look(self) -> None:
        audit()


def counted() -> list[str]:
    """Return the tables that are counted of one query of each kind."""
    with capture_queries() as log:
        Industry.objects.count()
        Subcategory.objects.count()
        list(Subcategory.objects.select_related("industry"))
        Auditor().look()
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    return [query.sql for query in log]


def test_all_are_counted_if_nothing_is_ignored(ignore: Any) -> None:
    assert leaving_out(origins=True) is None  # And nothing is asked at a query.
    assert len(counted()) == 5
    ignore()
    assert leaving_out(origins=True) is None
    assert len(counted()) == 5


def test_by_table(ignore: Any) -> None:
    ignore(TABLES=["jobs_industry"])
    left = counted()
    assert len(left) == 3
    # A join with another table is that table's as well.
    assert [sql for sql in left if "jobs_industry" in sql and "JOIN" in sql]
    ignore(TABLES=["jobs_industry", "jobs_subcategory"])
    assert counted() == ["SELECT 1"]


@pytest.mark.parametrize(
    "sql",
    [
        'SELECT * FROM "public"."audit_log"',
        "select 1 from audit_log",
        "INSERT INTO `audit_log` (a) VALUES (%s)",
        'UPDATE "audit_log" SET a = 1 WHERE id IN (SELECT id FROM audit_log)',
        "DELETE FROM ONLY audit_log",
        "TRUNCATE TABLE audit_log",
    ],
)
def test_a_tables_name_is_found_however_it_is_written(ignore: Any, sql: str) -> None:
    ignore(TABLES=["audit_log"])
    leaves_out = leaving_out(origins=True)
    frame: Any = None
    assert leaves_out is not None
    assert leaves_out(sql, frame)
    assert not leaves_out(f"{sql} -- \n UNION SELECT 1 FROM other", frame)


def test_by_sql(ignore: Any) -> None:
    ignore(SQL=[r"^SELECT 1$", r"(?i)count\(\*\)"])
    (left,) = counted()
    assert "JOIN" in left


@pytest.mark.parametrize("name", ["audit", "Auditor", "Auditor.look"])
def test_by_who_asks(ignore: Any, name: str) -> None:
    ignore(CALLERS=[f"{__name__}.{name}"])
    assert len(counted()) == 4
    ignore(CALLERS=[f"{__name__}.{name}s", "audit"])
    assert len(counted()) == 5


def test_by_a_module_or_a_package(ignore: Any) -> None:
    ignore(CALLERS=[__name__])
    assert counted() == []
    ignore(CALLERS=["tests"])
    assert counted() == []
    ignore(CALLERS=["test"])
    assert len(counted()) == 5


@pytest.mark.parametrize(
    ("written", "says"),
    [
        ({"TABELS": ["a"]}, 'QUERYBUDGET["IGNORE_QUERIES"]["TABELS"] is unknown. The settings are'),
        ({"SQL": ["("]}, 'QUERYBUDGET["IGNORE_QUERIES"]["SQL"] is [\'(\']'),
        ({"SQL": "SELECT"}, 'QUERYBUDGET["IGNORE_QUERIES"]["SQL"] is \'SELECT\''),
        ({"CALLERS": ["shop audit"]}, "'shop audit' is no dotted name"),
        ({"TABLES": [""]}, 'QUERYBUDGET["IGNORE_QUERIES"]["TABLES"] is [\'\']'),
        (["a"], "QUERYBUDGET[\"IGNORE_QUERIES\"] is ['a']"),
    ],
)
def test_a_bad_value_is_named_by_the_check(settings: Any, written: Any, says: str) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "IGNORE_QUERIES": written}
    assert any(says in str(error) for error in conf.errors())
