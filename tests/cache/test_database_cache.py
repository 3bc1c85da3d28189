"""Django's database cache in PostgreSQL: no statement of ours is in a transaction of the host's."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import call_command
from django.db import connections, transaction

from django_querybudget.cache import cache_stats, cached_queryset, invalidate
from jobs.models import Industry
from tests.cache.test_store import CacheRouter

__all__ = ["CacheRouter"]

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])


@pytest.fixture(autouse=True)
def database_cache(settings: Any) -> None:
    settings.CACHES = {
        **settings.CACHES,
        "default": {
            "BACKEND": "django.core.cache.backends.db.DatabaseCache",
            "LOCATION": "a_table_that_comes_late",
        },
    }
    settings.DATABASE_ROUTERS = ["tests.cache.test_store.CacheRouter"]
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "default"}}


def names() -> list[str]:
    rows = Industry.objects.using("postgres").order_by("pk")
    return [each.name for each in cached_queryset(rows)]


def write_in_a_transaction(name: str) -> None:
    with transaction.atomic(using="postgres"):
        Industry.objects.using("postgres").create(name=name)
        names()
        invalidate(Industry, using="postgres")
        Industry.objects.using("postgres").filter(name=name).update(name=name)


def test_without_its_table_nothing_is_cached_and_nothing_fails() -> None:
    write_in_a_transaction("a")
    Industry.objects.using("postgres").update(name="b")
    assert names() == names() == ["b"]
    call_command("migrate", database="postgres", verbosity=0)
    with connections["postgres"].cursor() as cursor:
        cursor.execute("BEGIN")
        Industry.objects.using("postgres").update(name="c")
        assert names() == ["c"]
        cursor.execute("COMMIT")
    assert names() == ["c"]


def test_with_its_table_reads_are_cached_outside_of_transactions() -> None:
    call_command("createcachetable", database="postgres", verbosity=0)
    write_in_a_transaction("a")
    cache_stats(reset=True)
    assert names() == names() == ["a"]
    assert cache_stats().hits == 1
    write_in_a_transaction("b")
    assert names() == names() == ["a", "b"]
    assert cache_stats().hits == 2
    caches["default"].clear()
    with connections["postgres"].cursor() as cursor:
        cursor.execute("DROP TABLE a_table_that_comes_late")


def test_nothing_is_sent_to_the_table_in_a_transaction() -> None:
    call_command("createcachetable", database="postgres", verbosity=0)
    sent: list[str] = []

    def note(execute: Any, sql: Any, *arguments: Any) -> Any:
        sent.append(str(sql))
        return execute(sql, *arguments)

    with (
        transaction.atomic(using="postgres"),
        connections["postgres"].execute_wrapper(note),
    ):
        Industry.objects.using("postgres").create(name="a")
        names()
    assert any("jobs_industry" in sql for sql in sent)
    assert not any("a_table_that_comes_late" in sql for sql in sent)
    with connections["postgres"].cursor() as cursor:
        cursor.execute("DROP TABLE a_table_that_comes_late")
