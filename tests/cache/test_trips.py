"""What each thing costs in round trips to Redis: a hit one, a miss two, a write its marks and one.

The second of a miss is not waited for, nor is that of a transaction.

``benchmarks/caching.py`` prints the same numbers beside the times; here they cannot grow unseen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from threading import current_thread, main_thread
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from redis.connection import AbstractConnection

from accounts.models import CustomUser
from django_querybudget.cache import (
    cached_queryset,
    cached_view,
    grouped_invalidation,
    invalidate,
)
from django_querybudget.cache.reading.remembered import _MOST_TAGS, _dependencies, noted, remember
from django_querybudget.cache.stores import wire
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.stores.resp import packed
from django_querybudget.cache.stores.wire import Wire
from jobs.models import Industry, Job

pytestmark = pytest.mark.django_db(transaction=True, databases=["postgres"])

ALIAS = "postgres"


def open_all(wire: Wire) -> None:
    """Open each connection of the library's own: while the keeper has one, another is opened.

    What is asked then asks besides whether that is the same server.
    """
    own = []
    while (one := wire._take()) is not None:
        own.append(one)
        wire._exchange_own(one, packed(b"PING"), silent=False)
    wire._idle += own


@pytest.fixture
def trips(
    redis_url: str, db: None, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Callable[[], Any]], int]]:
    """Return a function that counts what a call sends to Redis, all of it known to the server."""
    del redis_url, db
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0}}
    caches["redis"].clear()
    Industry.objects.using(ALIAS).create(name="i")
    names()
    with transaction.atomic(using=ALIAS):
        Industry.objects.using(ALIAS).update(name="j")
    store = store_for("redis")
    store.take("a lease", "me", 1)
    store.drop("a lease", "me")
    own = store._wire_of(store._client)  # type: ignore[attr-defined]
    own._flushed_at = float("-inf")  # a test before had the server forget its scripts
    open_all(own)
    # On a loaded machine the keeper comes late, and a read refreshes the pulse in its place.
    monkeypatch.setattr(type(store), "_is_late", lambda _: False)
    sent = 0
    send = AbstractConnection.send_packed_command

    def counted(self: Any, command: Any, check_health: bool = True) -> None:
        nonlocal sent
        if current_thread() is main_thread():  # not the keeper of the pulse
            sent += 1
        send(self, command, check_health)

    monkeypatch.setattr(AbstractConnection, "send_packed_command", counted)

    def of(call: Callable[[], Any]) -> int:
        nonlocal sent
        sent = 0
        call()
        return sent

    yield of
    connections[ALIAS].close()


@pytest.fixture
def waits(
    trips: Callable[[Callable[[], Any]], int], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Callable[[], Any]], tuple[int, int]]:
    """Return a function that counts what a call sends to Redis, and for how much of it it waits."""
    waited = 0

    def counted(function: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*args: Any, **kwargs: Any) -> Any:
            nonlocal waited
            if current_thread() is main_thread():
                waited += 1
            return function(*args, **kwargs)

        return counting

    monkeypatch.setattr(wire, "read_answer", counted(wire.read_answer))
    monkeypatch.setattr(
        AbstractConnection, "read_response", counted(AbstractConnection.read_response)
    )

    def of(call: Callable[[], Any]) -> tuple[int, int]:
        nonlocal waited
        waited = 0
        return trips(call), waited

    return of


def names() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.using(ALIAS).order_by("pk"))]


def test_a_miss_is_two_and_a_hit_is_one(trips: Callable[[Callable[[], Any]], int]) -> None:
    assert (trips(names), trips(names)) == (2, 1)
    Industry.objects.using(ALIAS).update(name="new")
    assert (trips(names), trips(names)) == (2, 1)


def test_a_view_is_one_for_a_hit_and_three_for_a_miss(
    trips: Callable[[Callable[[], Any]], int],
) -> None:
    """The lease is given back in one message with the answer."""

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        found = Industry.objects.using(ALIAS).order_by("pk")
        return HttpResponse(",".join(each.name for each in found))

    def ask(page: int) -> Callable[[], Any]:
        return lambda: view(RequestFactory().get("/", {"page": page}))

    def other(request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{Industry.objects.using(ALIAS).count()}")

    cached_view(60, vary_on=())(other)(RequestFactory().get("/"))  # the server knows the scripts
    first = trips(ask(1))
    assert trips(ask(1)) == 1
    Industry.objects.using(ALIAS).update(name="new")
    assert trips(ask(1)) == 3  # the key holds ALIAS' session by now: nobody had this lease
    Industry.objects.using(ALIAS).update(name="newer")
    assert trips(ask(1)) == 3 + 1  # the lease was another's a moment ago: one look more
    assert trips(ask(1)) == 1
    # Of another page it is known which tables it reads.
    assert (first, trips(ask(2)), trips(ask(2))) == (5, 3, 1)


def test_a_miss_waits_once(waits: Callable[[Callable[[], Any]], tuple[int, int]]) -> None:
    Industry.objects.using(ALIAS).update(name="new")
    assert (waits(names), waits(names)) == ((2, 1), (1, 1))


def test_a_miss_whose_tags_have_no_tokens_waits_twice(
    waits: Callable[[Callable[[], Any]], tuple[int, int]],
) -> None:
    def read() -> Any:
        return list(cached_queryset(Industry.objects.using(ALIAS).filter(pk=1)))

    read()
    _clear_all_but_the_pulse()
    assert (waits(read), waits(read)) == ((3, 2), (1, 1))


def test_a_relation_that_is_first_read_is_one_for_its_tokens(
    waits: Callable[[Callable[[], Any]], tuple[int, int]],
) -> None:
    def read() -> list[Job]:
        jobs = Job.objects.using(ALIAS).filter(pk__gt=0)
        return list(cached_queryset(jobs.prefetch_related("subcategories", "applications")))

    user = CustomUser.objects.using(ALIAS).create(username="u", email="u@x")
    industry = Industry.objects.using(ALIAS).get()
    Job.objects.using(ALIAS).create(client=user, industry=industry, title="t", budget=1)
    read()
    _clear_all_but_the_pulse()
    _dependencies.clear()
    # The first look, the tokens of jobs, those of each relation; and the entry.
    assert waits(read) == (5, 4)
    assert waits(read) == (1, 1)
    _clear_all_but_the_pulse()
    assert waits(read) == (3, 2)


def test_what_a_function_reads_is_known_for_arguments_that_were_not_met(
    waits: Callable[[Callable[[], Any]], tuple[int, int]],
) -> None:
    @cached_queryset
    def named(name: str) -> Any:
        return Industry.objects.using(ALIAS).filter(name=name).order_by("pk")

    list(named("the first call shows what its querysets look like"))
    list(named("a"))
    # The arguments' own tag has no token yet.
    assert waits(lambda: list(named("b"))) == (3, 2)
    assert waits(lambda: list(named("b"))) == (1, 1)
    Industry.objects.using(ALIAS).update(name="c")
    assert waits(lambda: list(named("b"))) == (2, 1)


def _clear_all_but_the_pulse() -> None:
    cache: Any = caches["redis"]
    client = cache.client.get_client()
    for key in client.scan_iter(match="*qb:*", count=1000):
        if not key.endswith(b"qb:pulse"):
            client.delete(key)


def test_a_hit_on_many_tables_is_one(trips: Callable[[Callable[[], Any]], int]) -> None:
    def read() -> list[Job]:
        jobs = Job.objects.using(ALIAS).select_related("client__profile", "industry")
        return list(cached_queryset(jobs.prefetch_related("subcategories", "applications")))

    user = CustomUser.objects.using(ALIAS).create(username="u", email="u@x")
    industry = Industry.objects.using(ALIAS).get()
    Job.objects.using(ALIAS).create(client=user, industry=industry, title="t", budget=1)
    read()
    assert trips(read) == 1
    _dependencies.clear()  # as in another process
    assert trips(read) == 2  # one more look, once
    assert trips(read) == 1


def test_what_is_noted_of_a_long_list_is_short(trips: Callable[[Callable[[], Any]], int]) -> None:
    def read() -> list[Job]:
        jobs = Job.objects.using(ALIAS).filter(pk__in=range(3000))
        return list(cached_queryset(jobs.prefetch_related("subcategories")))

    user = CustomUser.objects.using(ALIAS).create(username="u", email="u@x")
    industry = Industry.objects.using(ALIAS).get()
    Job.objects.using(ALIAS).create(client=user, industry=industry, title="t", budget=1, pk=2)
    _dependencies.clear()
    assert len(read()) == 1
    assert trips(read) == 1
    assert _dependencies
    assert max(map(len, _dependencies)) <= 512


@pytest.mark.parametrize("rows", [1, 50])
def test_a_transaction_is_one_and_its_mark_however_many_rows_it_wrote(
    trips: Callable[[Callable[[], Any]], int], rows: int
) -> None:
    def write() -> None:
        with transaction.atomic(using=ALIAS):
            for number in range(rows):
                Industry.objects.using(ALIAS).create(name=f"{rows} {number}")

    assert trips(write) == 2


def test_a_second_set_of_tables_is_one_mark_more(
    trips: Callable[[Callable[[], Any]], int],
) -> None:
    def write() -> None:
        with transaction.atomic(using=ALIAS):
            Industry.objects.using(ALIAS).update(name="new")
            CustomUser.objects.using(ALIAS).update(first_name="new")
            Industry.objects.using(ALIAS).update(name="newer")

    assert trips(write) == 3


def test_without_marks_a_transaction_is_one(
    trips: Callable[[Callable[[], Any]], int], settings: Any
) -> None:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "IN_FLIGHT_MARKS": False}}

    def write() -> None:
        with transaction.atomic(using=ALIAS):
            Industry.objects.using(ALIAS).create(name="a")
            Industry.objects.using(ALIAS).filter(name="a").update(name="b")

    assert trips(write) == 1


def test_a_group_of_invalidations_is_one(trips: Callable[[Callable[[], Any]], int]) -> None:
    def invalidate_all_of_them() -> None:
        with grouped_invalidation():
            for what in (Industry, Job, CustomUser, "a-tag"):
                invalidate(what, using=ALIAS)

    assert trips(invalidate_all_of_them) == 1


def test_what_is_asked_for_at_once_does_not_grow_with_the_databases_of_a_view() -> None:
    for database in range(1000):
        found = {f"{database}:t:{table}" for table in range(3)}
        remember("view of tenants", found)
        assert found <= noted("view of tenants")
        assert len(noted("view of tenants")) <= _MOST_TAGS


def test_all_that_one_answer_depends_on_is_asked_for_at_once() -> None:
    found = {f"database:t:{table}" for table in range(2 * _MOST_TAGS)}
    remember("view of everything", found)
    assert noted("view of everything") == found
