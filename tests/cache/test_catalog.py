"""What PostgreSQL's catalog tells of functions, partitions and views."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections, transaction
from django.db.utils import InternalError, ProgrammingError

from django_querybudget.cache import cache_stats, catalog, tables, tags
from django_querybudget.cache.writing.forms import form_of
from django_querybudget.cache.writing.statements import effect

pytestmark = pytest.mark.django_db(databases=["postgres"], transaction=True)

SETUP = """
    CREATE FUNCTION own_read(x int) RETURNS int LANGUAGE sql STABLE AS 'SELECT x';
    CREATE FUNCTION own_write(x int) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN UPDATE own_parent SET n = n; RETURN x; END $$;
    CREATE FUNCTION own_step(a int, b int) RETURNS int LANGUAGE plpgsql AS
        $$ BEGIN UPDATE own_parent SET n = n; RETURN b; END $$;
    CREATE AGGREGATE own_total(int) (sfunc = own_step, stype = int);
    CREATE TABLE own_parent (n int) PARTITION BY RANGE (n);
    CREATE TABLE own_part PARTITION OF own_parent FOR VALUES FROM (0) TO (10);
    CREATE TABLE own_alone (n int);
    CREATE VIEW own_view AS SELECT n FROM own_parent;
    CREATE VIEW own_view_of_view AS SELECT n FROM own_view;
"""
TEARDOWN = """
    DROP VIEW own_view_of_view, own_view;
    DROP TABLE own_parent, own_alone;
    DROP AGGREGATE own_total(int);
    DROP FUNCTION own_read(int), own_write(int), own_step(int, int);
"""


@pytest.fixture(autouse=True)
def world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    with connections["postgres"].cursor() as cursor:
        cursor.execute(SETUP)
    known = tables.Tables()
    known.tables["own_parent"] = tables.Table("own_parent", None, {})
    known.by_lower_name["own_parent"] = "own_parent"
    known._words["own_parent"].add("own_parent")
    monkeypatch.setattr(tables, "_tables", known)
    monkeypatch.setattr(catalog, "_known", {})
    yield
    with connections["postgres"].cursor() as cursor:
        cursor.execute(TEARDOWN)


@pytest.fixture
def lookups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One for each time that the catalog is read."""
    found: list[int] = []
    read = catalog._read

    def noted(connection: Any) -> Any:
        found.append(1)
        return read(connection)

    monkeypatch.setattr(catalog, "_read", noted)
    return found


def written(sql: str) -> set[str] | None:
    form = form_of(sql, connections["postgres"])
    if form is None:
        return None
    # test_effects proves that a table goes with its twin.
    return {tag for tag in effect(form, (), False, "d").tags if not tags.is_twin(tag)}


EVERYTHING = {"d:*"}
PARENT = {"d:t:own_parent", "d:b:own_parent"}
JOBS = {"d:t:jobs_job", "d:b:jobs_job", "d:V:jobs_job"}


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT own_read(1)", None),
        ("SELECT OWN_READ(1), public.own_read(2), pg_catalog.lower('A')", None),
        ("SELECT own_write(1)", EVERYTHING),
        ("SELECT n FROM own_parent WHERE own_write(n) = 1", EVERYTHING),
        ("SELECT own_total(n) FROM own_parent", EVERYTHING),
        ("SELECT nowhere(1)", EVERYTHING),
        ("SELECT query_to_xml('SELECT own_write(1)', true, true, '')", EVERYTHING),
        ("SELECT random(), now(), clock_timestamp(), pg_sleep(0), nextval('s')", None),
        ("SELECT jsonb_pretty('{}'), format_type(1, 2), obj_description(1)", None),
        ("UPDATE own_part SET n = 1", PARENT | {"d:?"}),
        ("TRUNCATE public.own_part", PARENT | {"d:?"}),
        ("UPDATE own_view SET n = 1", PARENT | {"d:?"}),
        ("DELETE FROM own_view_of_view", PARENT | {"d:?"}),
        ("UPDATE own_alone SET n = 1", {"d:?"}),
        ("UPDATE own_alone SET n = own_read(1)", {"d:?"}),
        ("UPDATE nowhere SET n = 1", EVERYTHING),
        ("UPDATE own_parent SET n = 1", PARENT),
        ("UPDATE own_parent SET n = own_read(1)", PARENT),
        ('UPDATE "jobs_job" SET "title" = own_read(1) WHERE "jobs_job"."id" = %s', JOBS),
        ("WITH a AS (UPDATE own_part SET n = 1) UPDATE own_parent SET n = 2", PARENT | {"d:?"}),
    ],
)
def test_the_catalog_tells(sql: str, expected: set[str] | None) -> None:
    assert written(sql) == expected


def test_it_is_read_once(lookups: list[int]) -> None:
    written("SELECT 1")
    written("UPDATE own_parent SET n = 1")
    assert lookups == []
    for _ in range(3):
        written("SELECT own_read(1)")
        written("SELECT own_write(2)")
        written("UPDATE own_part SET n = 1")
    assert lookups == [1]


def test_it_is_not_read_for_a_database_caches_own_table(
    lookups: list[int], settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = "django.core.cache.backends.db.DatabaseCache"
    settings.CACHES = {**settings.CACHES, "own": {"BACKEND": backend, "LOCATION": "own_alone"}}
    monkeypatch.setattr(tables, "_tables", tables.Tables())
    assert written("UPDATE own_alone SET n = 1") is None
    assert lookups == []


def test_a_name_that_is_not_there_is_looked_for_again_after_a_while(
    lookups: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert written("SELECT own_new(1)") == EVERYTHING
    with catalog_connection() as cursor:
        cursor.execute(
            "CREATE FUNCTION own_new(x int) RETURNS int LANGUAGE sql STABLE AS 'SELECT x'"
        )
    try:
        assert written("SELECT own_new(1)") == EVERYTHING
        assert lookups == [1]
        monkeypatch.setattr(catalog, "PAUSE", 0.0)
        assert written("SELECT own_new(1)") is None
    finally:
        with catalog_connection() as cursor:
            cursor.execute("DROP FUNCTION own_new(int)")


def catalog_connection() -> Any:
    """Another session than Django's, which no hook sees."""
    import psycopg

    params = connections["postgres"].get_connection_params()
    return psycopg.connect(**params, autocommit=True)


def test_the_hosts_transaction_is_left_alone(lookups: list[int]) -> None:
    connection = connections["postgres"]
    with pytest.raises((InternalError, ProgrammingError)), transaction.atomic("postgres"):  # noqa: PT012 - its end is what raises
        with connection.cursor() as cursor, pytest.raises(ProgrammingError):
            cursor.execute("SELECT nonsense")
        # The transaction has failed: a query of ours in it would fail, and so would the next.
        assert written("SELECT own_read(1)") is None
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert lookups == [1]


def test_a_database_that_cannot_be_reached_is_asked_once_in_a_while(
    lookups: list[int], monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = connections["postgres"]
    params = {**connection.get_connection_params(), "host": "/nowhere"}
    monkeypatch.setattr(connection, "get_connection_params", lambda: params)
    for _ in range(3):
        assert written("SELECT own_read(1)") == EVERYTHING
        assert written("UPDATE own_part SET n = 1") == EVERYTHING
    assert lookups == [1]
    assert "FUNCTIONS" in caplog.text


def test_a_schema_change_of_this_process_is_noticed(settings: Any) -> None:
    connection = connections["postgres"]
    assert written("SELECT own_read(1)") is None
    sql = (
        "CREATE OR REPLACE FUNCTION own_read(x int) RETURNS int LANGUAGE sql VOLATILE AS 'SELECT x'"
    )
    with transaction.atomic(using="postgres"), connection.cursor() as cursor:
        cursor.execute(sql)
        written("SELECT own_read(1)")  # read before the commit
    assert written("SELECT own_read(1)") == EVERYTHING


def test_what_a_project_declares_is_not_looked_up(lookups: list[int], settings: Any) -> None:
    settings.QUERYBUDGET = {"CACHE": {"FUNCTIONS": ["own_write"]}}
    assert written("SELECT own_write(1)") is None
    assert lookups == []


def test_the_statistics_name_what_renewed_everything() -> None:
    cache_stats(reset=True)
    with connections["postgres"].cursor() as cursor:
        cursor.execute("SELECT own_write(1)")
        cursor.execute("SELECT own_write(2)")
        cursor.execute("SELECT own_read(2)")
        cursor.execute("DO $$ BEGIN END $$")
    assert cache_stats().everything == {"function own_write": 2, "DO": 1}
    for number in range(150):
        from django_querybudget.cache.stats import count_everything

        count_everything(f"function a{number}")
    names = cache_stats(reset=True).everything
    assert len(names) == 101
    assert names["others"] == 52
