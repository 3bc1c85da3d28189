"""Which foreign keys the database sees to, as it says itself; on each database."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction

from django_querybudget.cache import cached_queryset, references, relations
from django_querybudget.cache.reading.conditions import list_of
from django_querybudget.cache.references import certain_references
from tests.cache import world
from tests.cache.relations.models import Book

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def connection(vendor_alias: str) -> Iterator[Any]:
    found = connections[vendor_alias]
    found.ensure_connection()
    relations.forget()
    yield found
    relations.forget()


@pytest.fixture
def pg_connection() -> Iterator[Any]:
    found = connections["postgres"]
    found.ensure_connection()
    yield found
    relations.forget()


def test_what_the_database_sees_to(connection: Any) -> None:
    books = certain_references(connection, "relations_book")
    assert books == {("author_id", "relations_author")}  # the others may be NULL
    # No constraint: a table without migrations names one of an app that has some.
    assert certain_references(connection, "relations_note") == set()
    assert certain_references(connection, "jobs_job") == {
        ("client_id", "accounts_customuser"),
        ("industry_id", "jobs_industry"),
    }


@pytest.mark.parametrize("table", ["no_such_table", "relations_book' OR '1' = '1", ""])
def test_no_such_table(connection: Any, table: str) -> None:
    assert certain_references(connection, table) == set()


def joins_author(connection: Any) -> bool:
    books = Book.objects.using(connection.alias).filter(pk=1).select_related("author")
    sql, params = books.query.get_compiler(connection.alias).as_sql()
    return list_of(sql, params, connection) is not None


def test_the_database_is_asked_once_and_again_when_its_schema_changes(
    connection: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    of = relations.certain_references

    def noting(connection: Any, table: str) -> Any:
        asked.append(table)
        return of(connection, table)

    monkeypatch.setattr(relations, "certain_references", noting)
    assert [joins_author(connection) for _ in range(3)] == [True] * 3
    assert asked == ["relations_book"]
    with connection.cursor() as cursor:
        cursor.execute("CREATE TABLE made_here (id integer)")
        cursor.execute("DROP TABLE made_here")
    assert joins_author(connection)
    assert asked == ["relations_book"] * 2


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_of_tables_with_one_name_all_have_to_have_it(pg_connection: Any) -> None:
    with pg_connection.cursor() as cursor:
        cursor.execute("CREATE SCHEMA other_tenant")
        try:
            cursor.execute("CREATE TABLE other_tenant.relations_book (author_id bigint NOT NULL)")
            assert certain_references(pg_connection, "relations_book") == set()
        finally:
            cursor.execute("DROP SCHEMA other_tenant CASCADE")
    assert certain_references(pg_connection, "relations_book")


@pytest.mark.django_db(transaction=True, databases=["postgres"])
def test_a_constraint_that_was_not_validated_is_none(pg_connection: Any) -> None:
    with pg_connection.cursor() as cursor:
        cursor.execute("CREATE TABLE made_here (author_id bigint NOT NULL)")
        try:
            cursor.execute(
                "ALTER TABLE made_here ADD FOREIGN KEY (author_id)"
                " REFERENCES relations_author (id) NOT VALID"
            )
            assert certain_references(pg_connection, "made_here") == set()
        finally:
            cursor.execute("DROP TABLE made_here")


def test_a_database_that_cannot_be_asked_costs_a_hit_and_no_transaction(
    connection: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    redis_url: str,
    settings: Any,
) -> None:
    del redis_url
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0}}
    caches["redis"].clear()
    world.fill(connection.alias)
    failing = dict.fromkeys(references._ASKED, "SELECT no_such_column")
    monkeypatch.setattr(references, "_ASKED", failing)
    books = Book.objects.using(connection.alias).filter(author=1).select_related("author")
    with transaction.atomic(using=connection.alias):
        assert len(cached_queryset(books, cache="redis")) == 2
        assert Book.objects.using(connection.alias).count() == 3
    assert [joins_author(connection) for _ in range(3)] == [False] * 3
    assert caplog.text.count("The foreign keys of 'relations_book' are not told") == 1
