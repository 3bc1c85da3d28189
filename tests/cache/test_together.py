"""Several cached querysets in one trip: each is answered as it would be alone."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from django.core.cache import caches
from django.db import DataError, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from django_querybudget.cache import (
    afetch_together,
    cache_stats,
    cached_queryset,
    cached_view,
    fetch_together,
    invalidate,
)
from django_querybudget.cache.reading import remembered, together
from django_querybudget.cache.stores import chosen
from django_querybudget.cache.stores.access import ReadMany
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.store import Store
from jobs.models import Industry, Job
from payment.models import Payment
from tests.cache import world
from tests.cache.reads import plain
from tests.cache.writes import KINDS

ALIASES = [
    pytest.param(alias, marks=pytest.mark.django_db(transaction=True, databases=[alias]))
    for alias in ("default", "postgres", "mariadb")
]
on_postgresql = pytest.mark.parametrize("alias", ALIASES[1:2])
CACHES = {"default": "default", "postgres": "redis", "mariadb": "redis"}


@pytest.fixture(autouse=True)
def rows(
    alias: str, redis_url: str, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    del redis_url, db
    monkeypatch.setattr(chosen, "_stores", {})
    own = {
        **settings.QUERYBUDGET["CACHE"],
        "ALIAS": CACHES[alias],
        "CLOCK_SKEW": 0,
        "RECOVERY_TIME": 0,
    }
    settings.QUERYBUDGET = {"CACHE": own}
    caches[CACHES[alias]].clear()
    remembered._dependencies.clear()
    world.fill(alias)
    cache_stats(reset=True)


@cached_queryset
def payments_above(alias: str, amount: int) -> Any:
    return Payment.objects.using(alias).filter(amount__gt=amount).order_by("pk")


@cached_queryset
def jobs_of(alias: str) -> Any:
    return Job.objects.using(alias).order_by("pk").prefetch_related("applications")


def page(alias: str, wrap: Callable[..., Any] = cached_queryset) -> list[Any]:
    """Querysets of all sorts; those of functions are plain ones where ``wrap`` is."""
    ours = wrap is cached_queryset
    return [
        wrap(Payment.objects.using(alias).filter(pk=1)),
        wrap(Payment.objects.using(alias).filter(pk=99)),
        wrap(Payment.objects.using(alias).filter(payer=2).order_by("pk")),
        wrap(Job.objects.using(alias).select_related("industry", "client").order_by("pk")),
        wrap(Industry.objects.using(alias).order_by("pk").values_list("name", flat=True)),
        (payments_above if ours else payments_above.__wrapped__)(alias, 7),
        (payments_above if ours else payments_above.__wrapped__)(alias, 1),
        (jobs_of if ours else jobs_of.__wrapped__)(alias)[:2],
    ]


def alone(queryset: Any) -> Any:
    return queryset


def fetched(alias: str) -> Any:
    """Return what a group answers, as data; nothing more is asked for when it is iterated."""
    querysets = fetch_together(*page(alias))
    with CaptureQueriesContext(connections[alias]) as queries:
        found = [plain(list(each)) for each in querysets]
    assert not queries.captured_queries
    return found


def counts() -> tuple[int, int, int]:
    """Return hits, misses and stores since the last call."""
    stats = cache_stats(reset=True)
    return stats.hits, stats.misses, stats.stores


@pytest.mark.parametrize("alias", ALIASES)
def test_a_group_is_what_each_would_be_alone(alias: str) -> None:
    payments_above(alias, 0)  # a first call shows what the querysets look like
    jobs_of(alias)
    counts()
    size = len(page(alias))
    true = [plain(list(each)) for each in page(alias, alone)]
    assert fetched(alias) == true
    assert counts() == (0, size, size)
    with CaptureQueriesContext(connections[alias]) as queries:
        assert fetched(alias) == true
    assert not queries.captured_queries
    assert counts() == (size, 0, 0)
    # Entries are shared with those who ask alone.
    assert [plain(list(each)) for each in page(alias)] == true
    assert counts() == (size, 0, 0)
    remembered._dependencies.clear()  # as in another process
    assert fetched(alias) == true
    assert counts() == (size, 0, 0)


@on_postgresql
def test_no_write_leaves_an_entry_of_a_group(alias: str) -> None:
    found = [fetched(alias), fetched(alias)]
    names = ["save", "update", "bulk_create", "raw_update", "m2m_add", "delete_that_cascades"]
    for name in [*names, "truncate_cascade"]:
        KINDS[name].run(alias)
        found.append(fetched(alias))
        assert found[-1] == [plain(list(each)) for each in page(alias, alone)], name
        assert fetched(alias) == found[-1]
    assert sum(before != after for before, after in pairwise(found)) >= 4


@on_postgresql
def test_a_transaction_reads_its_own_writes_and_keeps_them_to_itself(alias: str) -> None:
    fetched(alias)
    before = fetched(alias)
    counts()
    with transaction.atomic(using=alias):
        Payment.objects.using(alias).filter(pk=1).update(amount=Decimal(777))
        assert fetched(alias)[0][0] != before[0][0]
        stats = cache_stats(reset=True)
        assert (stats.hits, stats.stores) == (0, 0)
        assert stats.bypasses == {"the transaction has written": len(page(alias)) - 3}
        assert stats.misses == 3  # of functions, whose databases are known from their entries
        transaction.set_rollback(True, using=alias)
    assert fetched(alias) == before


@on_postgresql
def test_another_session_is_another_question(alias: str) -> None:
    fetched(alias)
    counts()
    with connections[alias].cursor() as cursor:
        cursor.execute("SET querybudget.tenant = 'another'")
    try:
        fetched(alias)
        assert counts()[0] == 0
        fetched(alias)
        assert counts()[1] == 0
    finally:
        with connections[alias].cursor() as cursor:
            cursor.execute("RESET querybudget.tenant")
        connections[alias].close()


@on_postgresql
def test_entries_in_other_caches(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def build() -> list[Any]:
        return [
            cached_queryset(Payment.objects.using(alias).filter(pk=1), cache="default"),
            cached_queryset(Payment.objects.using(alias).filter(pk=2)),
            cached_queryset(Payment.objects.using(alias).filter(pk=3), cache="default"),
        ]

    asked: list[tuple[str, int, int]] = []
    read = Store.read_many

    def noted(its: Store, keys: Any, wanted: Any) -> Any:
        asked.append((its.alias, len(keys), len(wanted)))
        return read(its, keys, wanted)

    caches["default"].clear()
    fetch_together(*build())
    monkeypatch.setattr(Store, "read_many", noted)
    counts()
    assert [each[0].pk for each in fetch_together(*build())] == [1, 2, 3]
    assert counts() == (3, 0, 0)
    # Entries first, tokens after them.
    [first, second] = asked
    assert first == ("default", 2, 0)
    assert second[:2] == ("redis", 1)
    assert second[2] >= 5
    Payment.objects.using(alias).filter(pk=3).update(amount=Decimal(777))
    assert [each[0].amount for each in fetch_together(*build())][2] == Decimal(777)
    assert counts() == (2, 1, 1)


@on_postgresql
def test_what_cannot_be_cached_is_fetched_as_ever(alias: str) -> None:
    locked = cached_queryset(Payment.objects.using(alias).select_for_update())
    plain_one = Payment.objects.using(alias).filter(pk=2)
    never = cached_queryset(Payment.objects.using(alias).filter(pk=3), timeout=0)
    done = cached_queryset(Payment.objects.using(alias).filter(pk=1))
    rows = list(done)
    twice = cached_queryset(Payment.objects.using(alias).order_by("pk"))
    same = cached_queryset(Payment.objects.using(alias).order_by("pk"))
    counts()
    with transaction.atomic(using=alias), CaptureQueriesContext(connections[alias]) as queries:
        found = fetch_together(locked, plain_one, never, done, twice, twice, same)
    assert found == (locked, plain_one, never, done, twice, twice, same)
    assert all(each._result_cache is not None for each in found)
    assert next(iter(done)) is rows[0]
    # The third of the same question is answered by the first's entry.
    assert len(queries.captured_queries) == 4
    assert cache_stats().hits == 1
    assert cache_stats().bypasses == {"select_for_update": 1}
    assert fetch_together() == ()


@on_postgresql
@pytest.mark.parametrize(
    "wrong", [[Payment.objects.all()], Payment.objects, Payment.objects.raw("SELECT 1"), None]
)
def test_what_is_no_queryset(alias: str, wrong: Any) -> None:
    fine = cached_queryset(Payment.objects.using(alias))
    with pytest.raises(TypeError, match=r"takes querysets, not \w+ \(argument 2\)"):
        fetch_together(fine, wrong)
    assert fine._result_cache is None


@on_postgresql
def test_an_error_of_the_database_is_the_callers(alias: str) -> None:
    first = cached_queryset(Payment.objects.using(alias).filter(pk=1))
    wrong = cached_queryset(Payment.objects.using(alias).extra(where=["1 / (id - id) = 1"]))
    last = cached_queryset(Payment.objects.using(alias).filter(pk=2))
    with pytest.raises(DataError):
        fetch_together(first, wrong, last)
    assert first._result_cache is not None
    assert wrong._result_cache is None
    assert last._result_cache is None
    assert list(last)


@on_postgresql
def test_a_view_depends_on_the_groups_that_it_read(alias: str) -> None:
    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        return HttpResponse(repr(fetched(alias)))

    def ask() -> bytes:
        content: bytes = view(RequestFactory().get("/")).content
        return content

    fetched(alias)
    first = ask()  # of entries that are there
    Payment.objects.using(alias).filter(pk=1).update(amount=Decimal(777))
    second = ask()  # of some that are, and some that are not
    assert second != first
    assert b"777" in second
    Payment.objects.using(alias).filter(pk=1).update(amount=Decimal(778))
    assert b"778" in ask()


@on_postgresql
def test_a_cache_that_cannot_be_asked(alias: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> Any:
        raise ConnectionError

    true = fetched(alias)
    counts()
    with monkeypatch.context() as patch:
        patch.setattr(store_for("redis"), "_read_many", broken)
        assert fetched(alias) == true
        stats = cache_stats(reset=True)
        assert (stats.hits, stats.stores, stats.errors) == (0, 0, 1)
        assert stats.bypasses == {"cache failed": len(page(alias))}
        assert stats.misses == 0


@on_postgresql
def test_a_pulse_that_comes_late_vouches_for_nothing(
    alias: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second look brings a pulse, and the first, which brought the entries, did not."""
    querysets = [Payment.objects.using(alias).filter(pk=pk).select_related("job") for pk in (1, 2)]
    fetch_together(*map(cached_queryset, querysets))
    remembered._dependencies.clear()
    read = Store.read_many

    def without_pulse(its: Store, keys: Any, wanted: Any) -> Any:
        entries, values = read(its, keys, wanted)  # type: ignore[misc]
        kept = {tag: value for tag, value in values.items() if tag != together.PULSE}
        return ReadMany(entries, kept)

    monkeypatch.setattr(Store, "read_many", without_pulse)
    counts()
    fetch_together(*map(cached_queryset, querysets))
    assert counts() == (0, 2, 0)


@on_postgresql
def test_a_tag_that_was_renewed_by_hand(alias: str) -> None:
    def build() -> list[Any]:
        rows = Payment.objects.using(alias)
        return [
            cached_queryset(rows.filter(pk=1), tags=["mine"]),
            cached_queryset(rows.filter(pk=2)),
            payments_above(alias, 5),
        ]

    payments_above(alias, 0)
    fetch_together(*build())
    invalidate("mine")
    payments_above.invalidate(alias, 5)
    counts()
    fetch_together(*build())
    assert counts() == (1, 2, 2)


@pytest.mark.parametrize("alias", ALIASES[:1])
def test_in_async_code(alias: str) -> None:
    async def run() -> Any:
        found = await afetch_together(*page(alias))
        return [plain(list(each)) for each in found]

    true = [plain(list(each)) for each in page(alias, alone)]
    counts()
    for _ in range(2):
        assert asyncio.run(run()) == true
