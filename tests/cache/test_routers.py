"""What a router picks by what is kept for the thread is part of what an answer depends on."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.core.cache import caches
from django.core.signals import request_finished, request_started
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from accounts.models import CustomUser
from django_querybudget.cache import cache_stats, cached_queryset, cached_view
from django_querybudget.cache.reading import remembered
from django_querybudget.cache.reading.routes import Rerouted, Routes, same_routes
from django_querybudget.cache.tags import database_name, table_tag
from django_querybudget.cache.views import learned
from jobs.models import Industry, Job

pytestmark = pytest.mark.django_db(transaction=True, databases=["default", "other"])


class Router:
    """It answers by the tenant of the thread, for all models or for some."""

    alias: str | None = None
    models: tuple[Any, ...] = ()
    error: Exception | None = None

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        if Router.error is not None:
            raise Router.error
        return Router.alias if not Router.models or model in Router.models else None

    db_for_write = db_for_read

    def allow_relation(self, *_: Any, **__: Any) -> bool:
        return True


@contextmanager
def tenant(alias: str | None, *models: Any) -> Iterator[None]:
    before = Router.alias, Router.models
    Router.alias, Router.models = alias, models
    try:
        yield
    finally:
        Router.alias, Router.models = before


def forget(patch: pytest.MonkeyPatch) -> None:
    """Be a process that has seen no read yet."""
    patch.setattr(learned, "_routed", {})
    patch.setattr(learned, "_reads", {})
    patch.setattr(remembered, "_dependencies", OrderedDict())


@pytest.fixture(autouse=True)
def routed(settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    forget(monkeypatch)
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    settings.QUERYBUDGET = {"CACHE": {"CLOCK_SKEW": 0, "RECOVERY_TIME": 0}}
    caches["default"].clear()
    for alias, name in (("default", "ours"), ("other", "theirs")):
        Industry.objects.using(alias).create(pk=1, name=name)
        user = CustomUser.objects.using(alias).create(pk=1, username=name, email=f"{name}@x")
        Job.objects.using(alias).create(
            pk=1, title=f"of {name}", client_id=user.pk, industry_id=1, budget=1
        )
    cache_stats(reset=True)
    yield
    Router.alias, Router.models, Router.error = None, (), None


TENANTS = [("default", "ours"), ("other", "theirs")] * 3


def all_industries() -> Any:
    return Industry.objects.all()


def industries() -> list[str]:
    return [each.name for each in cached_queryset(Industry.objects.all(), 60)]


def the_view(**options: Any) -> Any:
    """Return a cached view of the industry's name, and how often it ran."""
    runs: list[int] = []

    @cached_view(60, vary_on=(), **options)
    def view(request: HttpRequest) -> HttpResponse:
        runs.append(1)
        return HttpResponse(Industry.objects.get(pk=1).name)

    def ask() -> str:
        return str(view(RequestFactory().get("/")).content.decode())

    return ask, runs


# Querysets


def test_rows_that_are_prefetched_come_from_where_the_router_says() -> None:
    for alias, name in TENANTS:
        with tenant(alias, Industry):
            (job,) = cached_queryset(Job.objects.prefetch_related("industry"), 60)
            assert job.title == "of ours"
            assert job.industry.name == name


def test_prefetched_rows_are_kept_where_the_router_says_the_same() -> None:
    with tenant("other", Industry):
        for _ in range(3):
            (job,) = cached_queryset(Job.objects.prefetch_related("industry"), 60)
            assert job.industry.name == "theirs"
    assert cache_stats().hits == 2


def test_a_queryset_that_names_its_database_is_every_tenants() -> None:
    queryset = Industry.objects.using("default")
    for alias, _ in TENANTS:
        with tenant(alias):
            assert [each.name for each in cached_queryset(queryset.all(), 60)] == ["ours"]
    assert cache_stats().hits >= 4


def test_a_function_that_visits_each_tenant_is_kept() -> None:
    @cached_queryset(timeout=60)
    def jobs() -> Any:
        names = []
        for alias, _ in TENANTS[:2]:
            with tenant(alias, Industry):
                names += Industry.objects.values_list("name", flat=True)
        return Job.objects.filter(title=f"of {names[0]}")

    for _ in range(5):
        assert [each.title for each in jobs()] == ["of ours"]
    assert cache_stats().hits >= 2


# What one fill notes


def test_what_is_read_by_turns_has_no_database_of_its_own() -> None:
    known, unknown = Routes({table_tag("ours", "jobs_industry")}), Routes(())
    for alias in ("default", "other"):
        with tenant(alias):
            for routes in (known, unknown):
                routes.note({table_tag("ours", "jobs_industry")}, alias)
    with tenant("default"):  # as it was at first
        assert known.before() == {"jobs.industry": database_name("default")}
        with pytest.raises(Rerouted, match=r"jobs\.industry"):
            unknown.before()


def test_what_counts_of_an_answer_inside_of_another_and_of_a_table_between_two() -> None:
    routes = Routes(())
    with tenant("other"):
        routes.absorb(["jobs.industry", "gone.gone"])
        routes.note({table_tag("ours", "relations_book_tags")}, "other")
        assert routes.labels == {"jobs.industry", "relations.book_tags"}
        before = routes.before()
        assert same_routes(before)
    assert not same_routes(before)
    assert not same_routes(None)


# Views


def test_each_tenant_has_an_answer_of_its_own() -> None:
    ask, runs = the_view()
    for alias, name in TENANTS:
        with tenant(alias):
            assert ask() == name
    assert len(runs) == 2


def test_a_write_of_one_tenant_is_seen_by_that_one() -> None:
    ask, runs = the_view()
    for alias, name in TENANTS:
        with tenant(alias):
            assert ask() == name
    with tenant("other"):
        Industry.objects.update(name="written")
    with tenant("default"):
        assert ask() == "ours"
    with tenant("other"):
        assert ask() == "written"
    assert len(runs) == 3


def test_a_process_that_has_not_seen_the_view_is_told_no_other_tenants(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ask, _ = the_view()
    for forgetting in (False, True):
        for alias, name in TENANTS:
            with tenant(alias), monkeypatch.context() as patch:
                if forgetting:
                    forget(patch)
                assert ask() == name


def test_a_model_that_is_read_for_some_requests_alone() -> None:
    @cached_view(60, vary_on=("header:X-Long",))
    def view(request: HttpRequest) -> HttpResponse:
        texts = [Industry.objects.get(pk=1).name]
        if request.headers.get("X-Long"):
            texts += [each.title for each in Job.objects.all()]
        return HttpResponse(",".join(texts))

    for models in ((), (Job,), (Industry,)):
        for header in ("", "1"):
            for alias, name in TENANTS:
                request = RequestFactory().get("/", headers={"X-Long": header})
                with tenant(alias, *models):
                    first = "ours" if models == (Job,) else name
                    second = "ours" if models == (Industry,) else name
                    expected = f"{first},of {second}" if header else first
                    assert view(request).content.decode() == expected


def test_a_view_that_turns_to_another_tenant_and_stays_there() -> None:
    """What it was before is no longer known when it ends; after it, it is asked before."""

    @cached_view(60, vary_on=())
    def view(request: HttpRequest) -> HttpResponse:
        name = Industry.objects.get(pk=1).name
        Router.alias = "default"
        return HttpResponse(name)

    for alias, name in reversed(TENANTS):
        for _ in range(2):
            with tenant(alias):
                assert view(RequestFactory().get("/")).content.decode() == name
    assert "the database of jobs.industry was changed meanwhile" in cache_stats().not_stored
    assert cache_stats().hits


def test_a_router_that_raises_stores_nothing_and_gives_nothing() -> None:
    ask, runs = the_view()
    with tenant("other"):
        assert [ask(), ask()] == ["theirs"] * 2
    Router.error = LookupError("no tenant")
    with pytest.raises(LookupError, match="no tenant"):
        ask()  # the view's own
    assert len(runs) == 2


def test_a_router_that_asks_the_database_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    def asks(self: Router, model: Any, **hints: Any) -> str | None:
        names = CustomUser.objects.using("default").values_list("username", flat=True)
        return "other" if "theirs" in names else "default"

    monkeypatch.setattr(Router, "db_for_read", asks)
    ask, runs = the_view()
    with CaptureQueriesContext(connection) as queries:
        assert ask() == "ours"
    assert len(queries) < 10  # and not of each of its own statements again
    assert ask() == "ours"
    CustomUser.objects.using("default").update(username="theirs")
    assert [ask(), ask()] == ["theirs"] * 2
    assert len(runs) == 2


def test_entries_from_before_the_first_router(settings: Any) -> None:
    settings.DATABASE_ROUTERS = []
    ask, runs = the_view()
    assert [ask(), ask(), *industries()] == ["ours"] * 3
    settings.DATABASE_ROUTERS = [f"{__name__}.Router"]
    with tenant("other"):
        assert [ask(), *industries()] == ["theirs"] * 2
    assert len(runs) == 2


@pytest.mark.parametrize("kind", ["view", "prefetched", "function"])
def test_the_audit_does_not_compare_two_tenants(
    kind: str, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after the request, when the middleware has taken its tenant back."""
    settings.QUERYBUDGET = {"CACHE": {"CLOCK_SKEW": 0, "AUDIT": 1.0}}
    ask, _ = the_view()
    function = cached_queryset(timeout=60)(all_industries)
    reads = {
        "view": ask,
        "prefetched": lambda: cached_queryset(Job.objects.prefetch_related("industry"), 60)[0],
        "function": lambda: list(function()),
    }
    request_started.send(None)
    with tenant("other", Industry):
        for _ in range(4):
            reads[kind]()
    request_finished.send(None)
    assert cache_stats().audit.startswith("stale 0 of"), cache_stats().unaudited
    assert cache_stats().unaudited
