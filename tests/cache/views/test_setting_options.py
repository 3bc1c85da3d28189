"""By setting as by decorator: ``refresh``, surrogate keys and the audit, under WSGI and ASGI."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from django.core.cache import caches
from django.core.handlers.asgi import ASGIHandler
from django.core.handlers.wsgi import WSGIHandler
from django.db import connection
from django.test import override_settings

from django_querybudget.cache import cache_stats
from django_querybudget.cache.reading import audit, leases
from django_querybudget.cache.stores.chosen import store_for
from django_querybudget.signals import dependencies_renewed
from jobs.models import Industry

from . import visitors
from .setting_urls import runs

HERE = "tests.cache.views"
PATHS = ["/jobs/list/", "/in_async/", "/template/"]

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(f"{HERE}.setting_urls")]


@pytest.fixture(autouse=True)
def rows() -> None:
    caches["default"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    leases._unstored.clear()
    audit._logged.clear()
    cache_stats(reset=True)
    runs.clear()


def by_wsgi(path: str) -> visitors.Answer:
    return visitors.Visitor(visitors.by_wsgi(WSGIHandler())).ask(path)


def by_asgi(path: str) -> visitors.Answer:
    return visitors.Visitor(visitors.by_asgi(ASGIHandler())).ask(path)


@pytest.fixture(params=[by_wsgi, by_asgi])
def get(request: Any) -> Callable[[str], visitors.Answer]:
    way: Callable[[str], visitors.Answer] = request.param
    return way


def cached(views: dict[str, Any], **cache: Any) -> Any:
    return override_settings(
        QUERYBUDGET={"CACHE": {"VIEWS": views, "CLOCK_SKEW": 0, **cache}, "HEADERS": True},
        ALLOWED_HOSTS=["*"],
        MIDDLEWARE=["django_querybudget.middleware.CachedViewMiddleware"],
    )


FOR_ALL = {"timeout": 60, "vary_on": []}


@pytest.mark.parametrize("path", PATHS)
def test_refresh(get: Any, path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leases, "WAIT", -9.0)  # nobody waits
    for refresh, given in ((30, True), (None, False)):
        caches["default"].clear()
        with cached({"*": {**FOR_ALL, "refresh": refresh}}):
            first = get(path).body
            Industry.objects.create(name=f"three {refresh}")
            with monkeypatch.context() as patch:  # another process makes it
                patch.setattr(type(store_for("default")), "take", lambda *_: leases.Lease.HELD)
                second = get(path)
            assert (second.body == first) is given
            assert ("fwd=stale" in second["Cache-Status"]) is given
            third = get(path)
            assert third.body != first
            assert get(path).body == third.body


@pytest.fixture
def purges() -> Iterator[list[frozenset[str]]]:
    seen: list[frozenset[str]] = []

    def receive(names: frozenset[str], **_: object) -> None:
        seen.append(names)

    dependencies_renewed.connect(receive)
    yield seen
    dependencies_renewed.disconnect(receive)


@pytest.mark.parametrize("path", PATHS)
def test_surrogate_keys(get: Any, path: str, purges: list[frozenset[str]]) -> None:
    with cached({"*": FOR_ALL}, SURROGATE_KEYS="Surrogate-Key"):
        filled, hit = (frozenset(get(path)["Surrogate-Key"].split()) for _ in range(2))
        assert filled == hit
        assert len(runs) == 1
        Industry.objects.create(name="three")
        assert any(names & filled for names in purges)


@pytest.mark.parametrize("path", PATHS)
def test_the_audit(get: Any, path: str, caplog: pytest.LogCaptureFixture) -> None:
    with cached({"*": FOR_ALL}, AUDIT=1.0):
        for _ in range(3):
            get(path)
        assert cache_stats().audit == "stale 0 of 2 audited", dict(cache_stats().unaudited)
        # What the database hook cannot see.
        connection.ensure_connection()
        connection.connection.execute("INSERT INTO jobs_industry (name) VALUES ('past Django')")
        get(path)
        assert cache_stats().audit == "stale 1 of 3 audited", dict(cache_stats().unaudited)
    assert [each.levelname for each in caplog.records if "Stale" in each.message] == ["ERROR"]
