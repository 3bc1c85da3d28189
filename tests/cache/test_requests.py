"""ATOMIC_REQUESTS: a view is a transaction that nothing in it names."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from django.core.cache import caches
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, override_settings
from django.test.utils import CaptureQueriesContext
from django.urls import path

from django_querybudget.cache import cached_queryset
from jobs.models import Industry

pytestmark = pytest.mark.django_db(transaction=True)

ALIAS: list[str] = []
SEEN: list[str] = []


def cached_name() -> str:
    [industry] = cached_queryset(Industry.objects.using(ALIAS[0]))
    return industry.name


def elsewhere(work: Callable[[], Any]) -> Any:
    """Run ``work`` in a thread, which has connections of its own."""
    outcome: list[Any] = []

    def run() -> None:
        try:
            outcome.append(work())
        finally:
            connections.close_all()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return outcome[0]


def write(request: HttpRequest) -> HttpResponse:
    """Write, and read it as this request and as another do; then fail, if asked to."""
    assert connections[ALIAS[0]].in_atomic_block
    Industry.objects.using(ALIAS[0]).update(name="new")
    SEEN.extend([cached_name(), elsewhere(cached_name)])
    if "fail" in request.GET:
        raise ZeroDivisionError
    return HttpResponse()


urlpatterns = [path("write", write)]


@pytest.fixture
def client(
    vendor_alias: str, redis_url: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> Client:
    del redis_url
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0}}
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = []
    monkeypatch.setitem(connections.settings[vendor_alias], "ATOMIC_REQUESTS", True)
    if connections[vendor_alias].vendor == "sqlite":
        with connections[vendor_alias].cursor() as cursor:
            cursor.execute("PRAGMA journal_mode = WAL")  # a reader does not stop a writer
    caches["redis"].clear()
    ALIAS[:], SEEN[:] = [vendor_alias], []
    Industry.objects.using(vendor_alias).create(name="old")
    assert cached_name() == cached_name() == "old"
    return Client(raise_request_exception=False)


def is_warm() -> bool:
    with CaptureQueriesContext(connections[ALIAS[0]]) as queries:
        cached_name()
    return not queries.captured_queries


def test_a_view_that_writes_keeps_it_to_itself_until_its_commit(client: Client) -> None:
    assert client.get("/write").status_code == 200
    assert SEEN == ["new", "old"]
    assert cached_name() == elsewhere(cached_name) == "new"
    assert is_warm()
    assert cached_name() == "new"


@override_settings(DEBUG=False)
def test_a_view_that_fails_has_written_nothing(client: Client) -> None:
    assert client.get("/write?fail").status_code == 500
    assert SEEN == ["new", "old"]
    assert cached_name() == elsewhere(cached_name) == "old"
    assert is_warm()
    assert cached_name() == "old"
