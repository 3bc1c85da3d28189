"""The audit finds what is stale, and nothing else."""

from __future__ import annotations

import asyncio
import itertools
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.signals import request_finished, request_started
from django.db import connection, transaction
from django.db.models import Min
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import cache_stats, cached_queryset, cached_view, invalidate_all
from django_querybudget.cache.reading import audit, fills, sampling, through
from jobs.models import Industry
from tests.cache.views.urls import runs

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("tests.cache.views.urls"),
]


@pytest.fixture(autouse=True)
def rows(settings: Any) -> Iterator[None]:
    settings.QUERYBUDGET = {"CACHE": {"AUDIT": 1}}
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    list(industries())  # learns what the queryset looks like
    caches["default"].clear()
    cache_stats(reset=True)
    audit._logged.clear()
    runs.clear()
    yield
    cache_stats(reset=True)


@cached_queryset(timeout=60)
def industries() -> Any:
    return Industry.objects.order_by("pk")


def write_past_django() -> None:
    """Write what the database hook cannot see."""
    connection.connection.execute("UPDATE jobs_industry SET name = 'new' WHERE name = 'one'")


READS: dict[str, Callable[[], Any]] = {
    "queryset": lambda: list(cached_queryset(Industry.objects.order_by("pk"))),
    "unordered": lambda: list(cached_queryset(Industry.objects.order_by())),
    "values": lambda: list(cached_queryset(Industry.objects.values_list("name", flat=True))),
    "count": lambda: cached_queryset(Industry.objects.filter(name="one")).count(),
    "exists": lambda: cached_queryset(Industry.objects.filter(name="one")).exists(),
    "get": lambda: cached_queryset(Industry.objects.all()).get(name__in=("one", "new")),
    "aggregate": lambda: cached_queryset(Industry.objects.all()).aggregate(n=Min("name")),
    "iterator": lambda: list(cached_queryset(Industry.objects.order_by("pk")).iterator()),
    "function": lambda: list(industries()),
    "function count": lambda: industries().count(),
    "function first": lambda: industries().first(),
    "view": lambda: Client().get("/industries/"),
    "template": lambda: Client().get("/lazy_template/"),
    "async view": lambda: Client().get("/in_async/"),
    "rest framework": lambda: Client().get("/rest/"),
}


ANSWERS_THAT_STAY = {"function count"}  # there are as many rows as before


@pytest.mark.parametrize("read", READS)
def test_right_answers_are_audited_and_none_is_stale(read: str) -> None:
    for _ in range(3):
        READS[read]()
    found = cache_stats()
    assert found.hits >= 2
    assert (found.audited, found.stale, dict(found.unaudited)) == (found.hits, 0, {})
    assert found.audit == f"stale 0 of {found.hits} audited"


@pytest.mark.parametrize("read", sorted(READS.keys() - ANSWERS_THAT_STAY))
def test_a_write_past_django_is_found(read: str, caplog: pytest.LogCaptureFixture) -> None:
    READS[read]()
    write_past_django()
    READS[read]()
    assert (cache_stats().stale, cache_stats().audited) == (1, 1)
    (record,) = (each for each in caplog.records if each.levelno == logging.ERROR)
    assert "Stale" in record.getMessage()
    assert [site.stale for site in cache_stats().sites if site.audited] == [1]


@pytest.mark.parametrize("read", sorted(READS.keys() - ANSWERS_THAT_STAY))
def test_a_planted_defect_is_found(read: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in :mod:`tests.cache.defects`: an entry is not compared with its tokens."""
    READS[read]()
    Industry.objects.filter(name="one").update(name="new")
    monkeypatch.setattr(through, "same", lambda *_: True)
    READS[read]()
    assert (cache_stats().stale, cache_stats().audited) == (1, 1)


def test_what_is_written_meanwhile_is_no_difference(monkeypatch: pytest.MonkeyPatch) -> None:
    READS["queryset"]()
    read_again = audit.Hit.read_again

    def after_a_write(hit: audit.Hit) -> audit.Replay:
        Industry.objects.create(name=f"{Industry.objects.count()}")
        return read_again(hit)

    monkeypatch.setattr(audit.Hit, "read_again", after_a_write)
    READS["queryset"]()
    assert (cache_stats().stale, cache_stats().audited) == (0, 0)
    assert sum(cache_stats().unaudited.values()) == 1


def test_an_answer_that_differs_each_time_is_not_stale() -> None:
    numbers = itertools.count()

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{next(numbers)}")

    for _ in range(2):
        view(RequestFactory().get("/"))
    assert dict(cache_stats().unaudited) == {"it differs each time": 1}
    assert cache_stats().stale == 0


def test_rows_without_an_order_may_come_in_another(monkeypatch: pytest.MonkeyPatch) -> None:
    def read() -> None:
        list(cached_queryset(Industry.objects.order_by()))

    read()
    fetch = fills.Fill.settled
    from django.db.models import QuerySet

    fetch_all = QuerySet._fetch_all

    def backwards(queryset: Any) -> None:
        fetch_all(queryset)
        queryset._result_cache.reverse()

    monkeypatch.setattr(QuerySet, "_fetch_all", backwards)
    read()
    assert fills.Fill.settled is fetch
    assert (cache_stats().stale, cache_stats().audited) == (0, 1)


def test_in_a_request_it_waits_until_the_response_is_done() -> None:
    READS["queryset"]()
    request_started.send(sender=None)
    with CaptureQueriesContext(connection) as queries:
        for _ in range(2):
            READS["queryset"]()
        assert len(queries) == 0
        request_finished.send(sender=None)
        assert len(queries) == 2
    assert cache_stats().audited == 2


def test_what_waits_is_bounded() -> None:
    READS["queryset"]()
    request_started.send(sender=None)
    for _ in range(audit.MOST_WAITING + 5):
        READS["queryset"]()
    request_finished.send(sender=None)
    assert cache_stats().audited == audit.MOST_WAITING
    assert dict(cache_stats().unaudited) == {"too many in one request": 5}


def test_nothing_is_repeated_inside_of_a_transaction() -> None:
    READS["queryset"]()
    with transaction.atomic(), CaptureQueriesContext(connection) as queries:
        READS["queryset"]()
        assert len(queries) == 0
    assert dict(cache_stats().unaudited) == {"inside of a transaction": 1}


def test_a_second_reading_that_fails_is_nobodys_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        seen.append(1)
        if len(seen) > 1:
            raise ZeroDivisionError
        return HttpResponse("x")

    for _ in range(2):
        assert view(RequestFactory().get("/")).content == b"x"
    assert dict(cache_stats().unaudited) == {"ZeroDivisionError in the second reading": 1}


def test_it_counts_no_reads_and_stores_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(3):
        READS["view"]()
    found = cache_stats()
    assert (found.hits, found.misses, found.stores) == (2, 1, 1)


def test_in_async_code() -> None:
    async def read() -> None:
        [each async for each in cached_queryset(Industry.objects.order_by("pk"))]

    for _ in range(2):
        asyncio.run(read())
    assert cache_stats().hits == cache_stats().audited


@pytest.mark.parametrize(("rate", "least", "most"), [(0, 0, 0), (0.01, 40, 160), (0.5, 4700, 5300)])
def test_the_share_is_as_the_setting_says(
    rate: float, least: int, most: int, settings: Any
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"AUDIT": rate}}
    sampling._random.seed(7)
    assert least <= sum(sampling.due() for _ in range(10_000)) <= most


def test_without_it_nobody_listens_to_requests(settings: Any) -> None:
    def listens() -> bool:
        return any(
            "querybudget-audit" in str(key[0])
            for signal in (request_started, request_finished)
            for key, *_ in signal.receivers
        )

    assert listens()
    settings.QUERYBUDGET = {"CACHE": {}}
    assert not listens()


def test_language_and_time_zone_are_those_of_the_hit() -> None:
    from django.utils import translation

    invalidate_all()
    cache_stats(reset=True)
    with translation.override("de"):
        list(industries())
        request_started.send(sender=None)
        list(industries())
    request_finished.send(sender=None)
    assert (cache_stats().audited, dict(cache_stats().unaudited)) == (1, {})
