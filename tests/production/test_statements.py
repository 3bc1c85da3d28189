"""Whose the time of a real PostgreSQL is, by its own count: ``pg_stat_statements``."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from io import StringIO
from typing import Any
from uuid import UUID

import psycopg
import pytest
from django.core.management import call_command
from django.db import connections
from django.db.models import F
from pytest_django import DjangoDbBlocker

from django_querybudget import production
from django_querybudget.production import statements
from django_querybudget.production.explained import explained
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.production.record import SeriesKey
from django_querybudget.production.statements import postgresql_aliases, read_statements
from django_querybudget.sql.digests import statement_digest
from jobs.models import Industry, Subcategory
from tests import settings
from tests.production.conftest import COUNTING

pytestmark = [pytest.mark.once]

PATIENCE = 20.0  # seconds until a connection is gone, on a busy machine

ALIAS = "counting"


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A database of its own on the server that counts, under an alias of Django's."""
    COUNTING.start()
    name = f"counted_{os.getpid()}"
    with psycopg.connect(COUNTING.url(), autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        entry = copy.deepcopy(connections.settings["other"])
        connections.settings[ALIAS] = {**entry, **COUNTING.settings(), "NAME": name, "OPTIONS": {}}
        yield f"{COUNTING.url().rpartition('/')[0]}/{name}"
        connections[ALIAS].close()
        del connections[ALIAS], connections.settings[ALIAS]
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def counting(url: str, django_db_blocker: DjangoDbBlocker) -> Iterator[Any]:
    """The connection, its tables empty and its count at 0."""
    with django_db_blocker.unblock():
        connection = connections[ALIAS]
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
        with connection.schema_editor() as editor:
            for model in (Industry, Subcategory):
                editor.create_model(model)
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_stat_statements_reset()")
        yield connection
        with connection.schema_editor() as editor:
            for model in (Subcategory, Industry):
                editor.delete_model(model)


def asks(pk: int) -> None:
    """Statements of each kind, once."""
    industries = Industry.objects.using(ALIAS)
    list(industries.filter(pk__in=range(pk + 3), name__icontains="b")[:21])
    industries.filter(pk=-pk).first()
    industries.bulk_create([Industry(name=f"{pk} {number}") for number in range(pk + 1)])
    industries.filter(pk=pk).update(name=F("name"))
    list(Subcategory.objects.using(ALIAS).select_related("industry").iterator())
    Subcategory.objects.using(ALIAS).filter(industry__name="x").exists()
    with connections[ALIAS].cursor() as cursor:
        cursor.execute(
            "SELECT 1 WHERE now() > %s AND %s <> %s AND %s IS NULL -- one line",
            [datetime(2026, 1, 1, tzinfo=UTC), UUID(int=pk), UUID(int=9), None],
        )


def test_every_statement_of_the_orm_is_found_again(counting: Any, record: ProcessRecord) -> None:
    with production.measured("task", "asks"):
        for pk in (1, 2, 3):
            asks(pk)
    record.flush()
    (series,) = read_picture(3600).whole.series.values()
    found = read_statements(ALIAS)
    assert found.problems == ()
    theirs: dict[str, int] = {}
    for each in found.statements:
        digest = statement_digest(each.text)
        theirs[digest] = theirs.get(digest, 0) + each.calls
    ours = {
        shape.sql: (cost.queries, theirs.get(shape.digest)) for shape, cost in series.costliest()
    }
    assert len(ours) == 7
    assert {sql: pair for sql, pair in ours.items() if pair[0] != pair[1]} == {}


def test_the_time_is_divided_and_the_rest_is_named(
    counting: Any, record: ProcessRecord, url: str
) -> None:
    industries = Industry.objects.using(ALIAS)
    for name, number in (("often", 30), ("seldom", 10)):
        with production.measured("task", name):
            for _ in range(number):
                industries.filter(name="a").count()
    with psycopg.connect(url, autocommit=True) as outsider:
        outsider.execute("SELECT pg_sleep(0.02)")
    record.flush()
    found = explained(read_statements(ALIAS), read_picture(3600).whole)
    shares = {each.key.name: each for each in found.shares}
    assert shares.keys() == {"often", "seldom"}
    assert sum(each.calls for each in shares.values()) == pytest.approx(40)
    assert shares["often"].time > shares["seldom"].time > 0
    assert found.unexplained[0].sql == "SELECT pg_sleep(?)"
    assert found.unexplained[0].calls == 1
    assert found.unexplained_time + sum(each.time for each in found.shares) == pytest.approx(1)
    assert found.statistics.since is not None
    out = StringIO()
    call_command("querybudget", "report", "--database", stdout=out)
    lines = out.getvalue().split("Database counting: ")[1].splitlines()
    assert [line.split()[:2] for line in lines[2:4]] == [["task", "often"], ["task", "seldom"]]
    assert lines[4].startswith("no view")
    assert lines[5].endswith("%  SELECT pg_sleep(?)")
    out = StringIO()
    call_command("querybudget", "report", "--database", "--json", stdout=out)
    told = next(each for each in json.loads(out.getvalue()) if each["alias"] == ALIAS)
    assert told["series"][0]["name"] == "often"
    assert told["unexplained"]["statements"][0]["sql"] == "SELECT pg_sleep(?)"


def test_another_databases_statements_are_not_ours(counting: Any, record: ProcessRecord) -> None:
    with psycopg.connect(COUNTING.url(), autocommit=True) as other:
        other.execute("SELECT 'of another database'")
    texts = {each.text for each in read_statements(ALIAS).statements}
    assert not {text for text in texts if text == "SELECT $1"}


def _connections(cursor: Any) -> int:
    cursor.execute("SELECT pg_stat_clear_snapshot()")
    cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
    (found,) = cursor.fetchone()
    return int(found)


def test_nothing_is_left_and_no_transaction_of_the_hosts_is_touched(
    counting: Any, record: ProcessRecord
) -> None:
    counting.set_autocommit(False)
    with counting.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = '7s'")
        assert read_statements(ALIAS).problems == ()
        cursor.execute("SHOW statement_timeout")
        assert cursor.fetchone() == ("7s",)
        # The server's process of a connection that was closed takes a moment to end.
        last = time.monotonic() + PATIENCE
        while (left := _connections(cursor)) > 1 and time.monotonic() < last:
            time.sleep(0.01)
        assert left == 1
    counting.rollback()
    counting.set_autocommit(True)


def test_what_is_missing_is_said_with_the_way_out(
    counting: Any, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Privileges, a full count, a slow answer, no extension: a line each, and no error."""
    entry = connections.settings[ALIAS]
    with psycopg.connect(url, autocommit=True) as admin:
        admin.execute("SELECT 'of the other user'::text AS told")
        admin.execute("DROP ROLE IF EXISTS poor")
        admin.execute("CREATE ROLE poor LOGIN")
        poor = {**entry, "USER": "poor"}
        monkeypatch.setitem(connections.settings, "poor", poor)
        found = read_statements("poor")
        assert "GRANT pg_read_all_stats TO poor;" in found.problems[0]
        assert "of other users cannot be read" in found.problems[0]
        assert {each.text for each in found.statements if each.calls} >= {""}
        admin.execute("REVOKE SELECT ON pg_stat_statements FROM PUBLIC")
        (problem,) = read_statements("poor").problems
        assert "may not be read" in problem
        monkeypatch.setattr(statements, "_INFO", "SELECT pg_sleep(9), now()")
        monkeypatch.setattr(statements, "LONGEST_SECONDS", "0.05")
        (problem,) = read_statements(ALIAS).problems
        assert "took longer than" in problem
        monkeypatch.setattr(statements, "_INFO", "SELECT 3, now()")
        monkeypatch.setattr(statements, "LONGEST_SECONDS", 2)
        assert "forgotten its rarest statements 3 times" in read_statements(ALIAS).problems[0]
        admin.execute("DROP EXTENSION pg_stat_statements")
        (problem,) = read_statements(ALIAS).problems
        assert "CREATE EXTENSION pg_stat_statements;" in problem
        monkeypatch.setitem(connections.settings, "away", {**entry, "NAME": "nowhere"})
        (problem,) = read_statements("away").problems
        assert problem.startswith("'away' cannot be asked: OperationalError: ")
        del connections["poor"], connections["away"]


def test_without_the_library_the_extension_says_so(postgres_url: str) -> None:
    """PostgreSQL 18 of the suite, which has no such extension."""
    (problem,) = read_statements("postgres").problems
    assert "shared_preload_libraries" in problem


def test_one_alias_for_each_postgresql(url: str) -> None:
    assert ALIAS in postgresql_aliases()
    assert "other" not in postgresql_aliases()
    assert settings.DATABASES["other"]["ENGINE"].endswith("sqlite3")
    assert SeriesKey("task", "asks").title == "task asks"
