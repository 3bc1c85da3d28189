"""What a database adds by itself: views and row-level security, on real servers."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import pytest
from django.db import connections, transaction

from django_querybudget.cache import cache_stats, cached_queryset, relations
from jobs.models import Industry
from tests.cache.relations.models import Shouting

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres", "default", "mariadb"])


def run(sql: str, alias: str = "postgres", params: Any = None) -> None:
    with connections[alias].cursor() as cursor:
        cursor.execute(sql, params)


# Row-level security


@pytest.fixture
def secured(transactional_db: None) -> Iterator[None]:
    """Rows of two tenants, which a role sees by ``app.tenant``."""
    del transactional_db
    for pk, name in ((1, "t1"), (2, "t2")):
        run("INSERT INTO jobs_industry (id, name) VALUES (%s, %s)", params=[pk, name])
    run("DROP ROLE IF EXISTS querybudget_tenant")
    run("CREATE ROLE querybudget_tenant")
    run("GRANT SELECT, UPDATE ON jobs_industry TO querybudget_tenant")
    run("ALTER TABLE jobs_industry ENABLE ROW LEVEL SECURITY")
    run(
        "CREATE POLICY own ON jobs_industry TO querybudget_tenant"
        " USING (name LIKE nullif(current_setting('app.tenant', true), '') || '%')"
        " WITH CHECK (true)"
    )
    connections["postgres"].close()
    run("SET ROLE querybudget_tenant")
    yield
    run("RESET ROLE")
    run("DROP POLICY own ON jobs_industry")
    run("ALTER TABLE jobs_industry DISABLE ROW LEVEL SECURITY")
    run("DROP OWNED BY querybudget_tenant")
    run("DROP ROLE querybudget_tenant")
    connections["postgres"].close()


def names() -> list[str]:
    return sorted(each.name for each in cached_queryset(Industry.objects.using("postgres")))


def as_tenant(name: str) -> None:
    run("SELECT set_config('app.tenant', %s, false)", params=[name])


COVERED = {"CACHE": {"ROW_SECURITY": {"jobs.Industry": ["app.tenant"]}}}


def test_a_table_with_row_security_is_not_cached(secured: None) -> None:
    cache_stats(reset=True)
    for name in ("t1", "t2", "t1"):
        as_tenant(name)
        assert names() == [name]
    assert cache_stats().bypasses == {"row-level security of jobs_industry": 3}


def test_a_setting_names_the_variables_of_a_policy(secured: None, settings: Any) -> None:
    settings.QUERYBUDGET = COVERED
    cache_stats(reset=True)
    for name in ("t1", "t2", "t1", "t2"):
        as_tenant(name)
        assert names() == [name]
    assert cache_stats().hits == 2
    for name in ("t1", "t2"):
        with transaction.atomic("postgres"):
            run("SET LOCAL app.tenant = " + name)
            assert names() == [name]
    run("RESET app.tenant")
    cache_stats(reset=True)
    assert names() == []
    assert cache_stats().bypasses == {"app.tenant is not set by a statement that Django sent": 1}


def test_a_write_in_one_tenants_session_is_seen_by_the_other(secured: None, settings: Any) -> None:
    settings.QUERYBUDGET = COVERED
    as_tenant("t2")
    assert names() == ["t2"]
    as_tenant("t1")
    Industry.objects.using("postgres").update(name="t2 now")  # gives it to the other tenant
    assert names() == []
    as_tenant("t2")
    assert names() == ["t2", "t2 now"]


def test_row_security_that_is_turned_on_later_is_seen() -> None:
    run("INSERT INTO jobs_industry (id, name) VALUES (1, 'a')")
    cache_stats(reset=True)
    assert (names(), names()) == (["a"], ["a"])
    assert cache_stats().hits == 1
    try:
        with suppress(ZeroDivisionError), transaction.atomic("postgres"):
            run("ALTER TABLE jobs_industry ENABLE ROW LEVEL SECURITY")
            raise ZeroDivisionError
        assert (names(), names()) == (["a"], ["a"])
        assert cache_stats().hits == 2
        with transaction.atomic("postgres"):
            run("ALTER TABLE jobs_industry ENABLE ROW LEVEL SECURITY")
        names()
        assert "row-level security of jobs_industry" in cache_stats().bypasses
    finally:
        run("ALTER TABLE jobs_industry DISABLE ROW LEVEL SECURITY")


# Views


@pytest.fixture
def views(alias: str, transactional_db: None) -> Iterator[None]:
    """A view of a view of the table of industries."""
    del transactional_db
    run("CREATE VIEW qb_inner AS SELECT id, upper(name) AS name FROM jobs_industry", alias)
    run("CREATE VIEW relations_shouting AS SELECT * FROM qb_inner", alias)
    connections[alias].close()
    yield
    run("DROP VIEW relations_shouting", alias)
    run("DROP VIEW qb_inner", alias)


@pytest.mark.parametrize("alias", ["default", "postgres", "mariadb"])
def test_a_view_is_renewed_with_the_tables_it_reads(views: None, alias: str) -> None:
    def read() -> list[str]:
        return [row.name for row in cached_queryset(Shouting.objects.using(alias))]

    def read_one() -> str:
        return str(cached_queryset(Shouting.objects.using(alias)).get(pk=1).name)

    Industry.objects.using(alias).create(pk=1, name="old")
    cache_stats(reset=True)
    assert (read(), read(), read_one(), read_one()) == (["OLD"], ["OLD"], "OLD", "OLD")
    assert cache_stats().hits == 2
    Industry.objects.using(alias).filter(pk=1).update(name="new")
    assert (read(), read_one()) == (["NEW"], "NEW")
    row = Industry.objects.using(alias).get(pk=1)
    row.name = "newer"
    row.save(using=alias)
    assert (read(), read_one()) == (["NEWER"], "NEWER")


def test_a_view_that_calls_an_unknown_function_is_not_cached() -> None:
    run("CREATE VIEW qb_of_now AS SELECT id, name, now() AS at FROM jobs_industry")
    try:
        sql = "SELECT id, name FROM qb_of_now"
        reason = relations.refused_relation(sql, connections["postgres"])
        assert reason == "view qb_of_now: function now"
        plain = relations.refused_relation("SELECT 1 FROM jobs_industry", connections["postgres"])
        assert plain is None
    finally:
        run("DROP VIEW qb_of_now")


def test_the_views_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    real = relations.ask
    monkeypatch.setattr(
        relations, "ask", lambda connection, sql: (asked.append(sql), real(connection, sql))[1]
    )
    relations.forget()
    for _ in range(3):
        names()
        connections["postgres"].close()
    assert len(asked) == len({*asked}) == 2  # for views, and for functions


def test_what_cannot_be_asked_for_is_not_cached(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(relations._ASKED, "postgresql", "SELECT 1/0")
    with transaction.atomic("postgres"):
        relations.forget()
        cache_stats(reset=True)
        names()
        assert cache_stats().bypasses == {"the database's views are not known": 1}
        Industry.objects.using("postgres").create(pk=1, name="kept")
    assert Industry.objects.using("postgres").count() == 1
    relations.forget()
