"""Reads that the table of test_querysets.py has not: async twins, refresh, two databases."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connection, connections, transaction
from django.db.models import Count, Max, QuerySet
from django.db.models.functions import Now, Random
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cache_stats, cached_queryset, invalidate
from jobs.models import Industry

DATABASES = ["default", "other"]
pytestmark = pytest.mark.django_db(transaction=True, databases=DATABASES)


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    for name in ("a", "b", "c"):
        Industry.objects.create(name=name)
    cache_stats(reset=True)


Read = Callable[[QuerySet[Industry]], Awaitable[Any]]


async def _rows(queryset: QuerySet[Industry]) -> list[str]:
    return [each.name async for each in queryset]


async def _pairs(queryset: QuerySet[Industry]) -> list[Any]:
    return [each async for each in queryset.values_list("pk", "name")]


async def _dicts(queryset: QuerySet[Industry]) -> list[Any]:
    return [each async for each in queryset.values("name")]


async def _iterated(queryset: QuerySet[Industry]) -> list[str]:
    return [each.name async for each in queryset.aiterator()]


async def _sliced(queryset: QuerySet[Industry]) -> list[str]:
    return [each.name async for each in queryset.filter(name__gt="a")[:2]]


async def _bulk(queryset: QuerySet[Industry]) -> dict[Any, str]:
    return {name: each.name for name, each in (await queryset.ain_bulk()).items()}


async def _name(instance: Awaitable[Industry | None]) -> str:
    found = await instance
    assert found is not None
    return found.name


ASYNC_READS: dict[str, Read] = {
    "async for": _rows,
    "async for values": _dicts,
    "async for values_list": _pairs,
    "async for a slice of a filter": _sliced,
    "aiterator": _iterated,
    "ain_bulk": _bulk,
    "aget": lambda queryset: _name(queryset.aget(name="b")),
    "afirst": lambda queryset: _name(queryset.afirst()),
    "alast": lambda queryset: _name(queryset.alast()),
    "aearliest": lambda queryset: _name(queryset.aearliest("name")),
    "alatest": lambda queryset: _name(queryset.alatest("name")),
    "acount": lambda queryset: queryset.acount(),
    "aexists": lambda queryset: queryset.aexists(),
    "aaggregate": lambda queryset: queryset.aaggregate(Count("pk"), last=Max("name")),
}


@pytest.mark.parametrize("name", ASYNC_READS)
def test_an_async_read_is_answered_as_by_the_database_and_then_by_the_cache(name: str) -> None:
    read = ASYNC_READS[name]
    queryset = Industry.objects.order_by("pk")

    def run(asked: QuerySet[Industry]) -> Any:
        async def reading() -> Any:
            return await read(asked.all())

        return asyncio.run(reading())

    expected = run(queryset)
    assert run(cached_queryset(queryset)) == expected
    assert (cache_stats().hits, cache_stats().misses, cache_stats().stores) == (0, 1, 1)
    assert run(cached_queryset(queryset)) == expected
    assert (cache_stats().hits, cache_stats().misses) == (1, 1)
    Industry.objects.all().delete()
    Industry.objects.create(name="b")
    expected_now = run(queryset)
    assert (expected_now == expected) is (name in {"aget", "aexists"})
    assert run(cached_queryset(queryset)) == expected_now
    assert cache_stats().misses == 2


def test_in_bulk_returns_the_instances() -> None:
    read = lambda: cached_queryset(Industry.objects.all()).in_bulk()  # noqa: E731
    assert {key: each.name for key, each in read().items()} == {
        each.pk: each.name for each in Industry.objects.all()
    }
    with CaptureQueriesContext(connection) as queries:
        assert sorted(each.name for each in read().values()) == ["a", "b", "c"]
    assert len(queries) == 0


def test_a_cached_instance_is_refreshed_from_the_database() -> None:
    read = lambda: cached_queryset(Industry.objects.all()).get(name="a")  # noqa: E731
    read()
    industry = read()
    assert cache_stats().hits == 1
    assert connection.connection is not None
    connection.connection.execute("UPDATE jobs_industry SET name = 'unseen' WHERE name = 'a'")
    industry.refresh_from_db()
    assert industry.name == "unseen"


VOLATILE: dict[str, Callable[[], QuerySet[Industry]]] = {
    "now": lambda: Industry.objects.annotate(at=Now()).filter(at__isnull=False),
    "random": lambda: Industry.objects.annotate(at=Random()).filter(at__lt=2),
    "random order": lambda: Industry.objects.order_by("?"),
    "locked": Industry.objects.select_for_update,
    "in a transaction that wrote": Industry.objects.all,
}
REASONS = {
    "now": "function ",
    "random": "function RAND",
    "random order": "function RAND",
    "locked": "select_for_update",
    "in a transaction that wrote": "the transaction has written",
}
METHODS: dict[str, Callable[[QuerySet[Industry]], Any]] = {
    "list": list,
    "len": len,
    "get": lambda queryset: queryset.get(name="a"),
    "first": lambda queryset: queryset.first(),
    "slice": lambda queryset: list(queryset[:2]),
    "iterator": lambda queryset: list(queryset.iterator()),
    "values": lambda queryset: list(queryset.values()),
    "values_list": lambda queryset: list(queryset.values_list("name")),
    "in_bulk": lambda queryset: queryset.in_bulk(),
    "count": lambda queryset: queryset.count(),
    "exists": lambda queryset: queryset.exists(),
    "aggregate": lambda queryset: queryset.aggregate(Max("name")),
}
# Of these the order is no part of the answer, and Django leaves it out.
ORDERLESS = {"get", "count", "exists", "aggregate"}


@pytest.mark.parametrize(
    ("name", "method"),
    [
        (name, method)
        for name in VOLATILE
        for method in METHODS
        if not (name == "random order" and method in ORDERLESS)
    ],
)
def test_no_method_caches_what_cannot_be_cached_right(name: str, method: str) -> None:
    # The first read of a process learns which views the database has, and not inside of a
    # transaction that wrote: that would be the reason.
    list(cached_queryset(Industry.objects.all()))
    cache_stats(reset=True)
    with transaction.atomic():
        if name == "in a transaction that wrote":
            Industry.objects.create(name="d")
        for _ in range(2):
            with CaptureQueriesContext(connection) as queries:
                METHODS[method](cached_queryset(VOLATILE[name]()))
            assert len(queries) == 1
    [(reason, number)] = cache_stats().bypasses.items()
    assert reason.upper().startswith(REASONS[name].upper())
    assert number == 2
    assert cache_stats().stores == 0


def test_equal_tables_of_two_databases_answer_for_themselves() -> None:
    def names(alias: str) -> tuple[list[str], int]:
        with CaptureQueriesContext(connections[alias]) as queries:
            rows = cached_queryset(Industry.objects.using(alias).order_by("pk"))
            return [each.name for each in rows], len(queries)

    Industry.objects.using("other").create(name="x")
    for expected in (1, 0):
        assert names("default") == (["a", "b", "c"], expected)
        assert names("other") == (["x"], expected)
    Industry.objects.using("other").update(name="y")
    assert names("default") == (["a", "b", "c"], 0)
    assert names("other") == (["y"], 1)
    Industry.objects.using("default").filter(name="a").delete()
    assert names("default") == (["b", "c"], 1)
    assert names("other") == (["y"], 0)
    with transaction.atomic(using="other"):
        Industry.objects.using("other").create(name="z")
        assert names("default") == (["b", "c"], 0)
        assert names("other") == (["y", "z"], 1)


def test_invalidating_an_instance_drops_its_row_and_what_holds_its_table() -> None:
    first, second = Industry.objects.order_by("pk")[:2]

    def name_of(industry: Industry) -> str:
        return cached_queryset(Industry.objects.all()).get(pk=industry.pk).name

    def count() -> int:
        return cached_queryset(Industry.objects.filter(name__startswith="unseen")).count()

    assert (name_of(first), name_of(second), count()) == ("a", "b", 0)
    assert connection.connection is not None
    connection.connection.execute("UPDATE jobs_industry SET name = 'unseen ' || name")
    invalidate(first)
    assert (name_of(first), name_of(second), count()) == ("unseen a", "b", 3)
    invalidate(Industry.objects.filter(pk=second.pk))
    assert name_of(second) == "unseen b"
