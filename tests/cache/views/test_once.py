"""Of requests for one answer that is not there yet, one runs the view, in whatever order."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.core.cache import caches
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from redis.connection import AbstractConnection

from django_querybudget.cache import cache_stats, cached_view
from django_querybudget.cache.reading import leases
from django_querybudget.cache.stores.access import Lease
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.cache.views import serving
from jobs.models import Industry

pytestmark = pytest.mark.django_db(transaction=True)

runs: list[int] = []


@cached_view(60, vary_on=())
def view(request: HttpRequest) -> HttpResponse:
    runs.append(1)
    return HttpResponse(f"{Industry.objects.count()}")


@pytest.fixture(params=["default", "redis"], autouse=True)
def cache(request: Any, settings: Any, redis_url: str) -> str:
    del redis_url
    alias: str = request.param
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": alias, "CLOCK_SKEW": 0, "RECOVERY_TIME": 0}}
    caches[alias].clear()
    for _ in range(40):  # until the pulse has come back after clear()
        view(RequestFactory().get("/warm/"))
        cache_stats(reset=True)
        view(RequestFactory().get("/warm/"))
        if cache_stats().hits:
            break
        time.sleep(0.1)
    runs.clear()
    leases._unstored.clear()
    return alias


def looked() -> serving.Served:
    """Return a request that has looked for its answer, and found none."""
    options = view._querybudget_cached_view.options  # type: ignore[attr-defined]
    name = f"{view.__module__}.{view.__qualname__}"
    found = serving.served(name, options, RequestFactory().get("/"))
    assert found is not None
    assert found.response is None
    return found


def test_a_request_that_takes_the_lease_just_after_the_answer_was_stored_is_given_it() -> None:
    late = looked()
    answer = view(RequestFactory().get("/")).content
    assert list(late.waits()) == []
    assert late.response.content == answer
    assert not late.leads
    assert runs == [1]
    assert store_for(late.options.cache).take(late.lease, "another", 1.0), "it is given back"


def test_who_had_no_lease_any_more_does_not_give_back_anothers(cache: str) -> None:
    store = store_for(cache)
    assert store.take("qb:e:slow:lease", "slow", 1.0)
    caches[cache].delete("qb:e:slow:lease")  # it took longer than its lease
    assert store.take("qb:e:slow:lease", "second", 1.0)
    store.drop("qb:e:slow:lease", "slow")
    assert store.take("qb:e:slow:lease", "third", 1.0) is Lease.HELD
    store.drop("qb:e:slow:lease", "second")
    assert store.take("qb:e:slow:lease", "third", 1.0) is Lease.TAKEN_AFTER_ANOTHER


def test_a_leader_that_stored_nothing_leaves_the_next_to_run() -> None:
    first, late = looked(), looked()
    assert list(first.waits()) == []
    assert first.leads
    first.release()
    assert list(late.waits()) == []
    assert late.leads
    assert late.response is None
    late.release()


def test_no_lease_is_given_back_before_the_answer_is_there(
    cache: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is on its way may take long: on another connection the lease would be given back."""
    late = looked()
    own_key = late.question.key.encode()  # the keeper's thread publishes figures by SET, too
    send, delayed = AbstractConnection.send_packed_command, threading.Event()

    def send_late(self: Any, command: Any, check_health: bool = True) -> None:
        if b"SET\r\n" in command[0][:20] and own_key in command[0] and not delayed.is_set():
            delayed.set()
            on_its_way.append((self, command))
            monkeypatch.setattr(wire, "_take", lambda: None)  # another thread has it meanwhile
            return
        send(self, command, check_health)

    on_its_way: list[Any] = []
    if cache == "redis":
        store = store_for(cache)
        wire = store._wire_of(store._client)  # type: ignore[attr-defined]
        wire._flushed_at = float("-inf")  # a test before had the server forget its scripts
        monkeypatch.setattr(AbstractConnection, "send_packed_command", send_late)
    view(RequestFactory().get("/"))
    waits = late.waits()
    if cache == "redis":
        assert next(waits) > 0  # the lease is held until the answer has come
        (own, command) = on_its_way.pop()
        send(own, command, False)
    assert all(seconds > 0 for seconds in waits)
    assert late.response is not None
    assert runs == [1]
