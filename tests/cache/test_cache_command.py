"""``manage.py querybudget cache``: what it tells, warms and drops."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from io import StringIO
from typing import Any

import pytest
from django.core.cache import caches
from django.core.management import CommandError, call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import path
from django.views.generic import View

from django_querybudget.cache import (
    CachedViewMixin,
    cache_stats,
    cached_queryset,
    cached_view,
    published,
    sites,
    stats,
    warming,
)
from jobs.models import Industry

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


@cached_queryset(timeout=60)
def all_industries() -> Any:
    return Industry.objects.order_by("pk")


@cached_queryset(timeout=60, warm=[("one",), "two"])
def called(name: str) -> Any:
    return Industry.objects.filter(name=name)


@cached_queryset(timeout=60)
def not_warmed(name: str) -> Any:
    return Industry.objects.filter(name=name)


@cached_view(60, vary_on=())
def page(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{Industry.objects.count()}")


@cached_view(60, vary_on=(), warm=lambda: ["/one/1/", "/one/2/"])
def one(request: HttpRequest, number: int) -> HttpResponse:
    return HttpResponse(f"{number} {Industry.objects.count()}")


@cached_view(60, vary_on=())
def fails(request: HttpRequest) -> HttpResponse:
    return HttpResponse("no", status=503)


@cached_view(60, vary_on=())
class Decorated(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{Industry.objects.count()}")


class Mixed(CachedViewMixin, View):
    cache_vary_on = ()

    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(f"{Industry.objects.count()}")


urlpatterns = [
    path("page/", page, name="page"),
    path("one/<int:number>/", one, name="one"),
    path("fails/", fails, name="fails"),
    path("decorated/", Decorated.as_view(), name="decorated"),
    path("mixed/", Mixed.as_view(), name="mixed"),
    path("other/", lambda request: HttpResponse("x"), name="other"),
]

HERE = f"{__name__}."


@pytest.fixture(autouse=True)
def rows(settings: Any, redis_url: str) -> Iterator[None]:
    settings.QUERYBUDGET = {"CACHE": {"ALIAS": "redis", "CLOCK_SKEW": 0}}
    settings.ALLOWED_HOSTS = [".shop.example", "testserver"]
    caches["redis"].clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    Industry.objects.count()
    cache_stats(reset=True)
    yield
    caches["redis"].clear()
    cache_stats(reset=True)


def run(*arguments: Any, **options: Any) -> str:
    out = StringIO()
    call_command("querybudget", "cache", *arguments, stdout=out, stderr=StringIO(), **options)
    return out.getvalue()


def queries_of(ask: Callable[[], Any]) -> int:
    with CaptureQueriesContext(connection) as queries:
        ask()
    return len(queries)


# stats


def test_the_table_has_every_site_and_every_reason() -> None:
    sites.site_of("view shop.views.jobs").add(
        {"hits": 90, "misses": 10, "stores": 10, "bytes_read": 2_000_000, "hit_seconds": 0.009,
         "saved_seconds": 0.9, "query_seconds": 0.1, "audited": 3}
    )  # fmt: skip
    sites.site_of("queryset jobs.Job SELECT …").add(
        {"hits": 30, "misses": 10, "stores": 10, "hit_seconds": 0.03, "saved_seconds": 0.015,
         "query_seconds": 0.005, "stale": 1, "audited": 1}
    )  # fmt: skip
    stats.count_bypass("select_for_update")
    stats.count_not_stored("the view read cookie:theme")
    text = run("stats")
    lines = text.splitlines()
    assert "120 hits, 20 misses (86% hits)" in lines[0]
    assert "stale 1 of 4 audited" in lines[0]
    (row,) = (line for line in lines if line.endswith("view shop.views.jobs"))
    assert row.split()[:-2] == [
        "90", "10", "90%", "0.10", "ms", "10.00", "ms", "0.89", "s", "2.0", "MB",
    ]  # fmt: skip
    for each in (
        "select_for_update", "the view read cookie:theme", "Caching loses here",
        "a hit takes 1.00 ms, what it saves 0.50 ms", "Stale by the audit",
    ):  # fmt: skip
        assert each in text


def test_json_is_for_programs() -> None:
    sites.site_of("view v").add({"hits": 90, "misses": 10, "stores": 10, "hit_seconds": 0.9})
    told = json.loads(run("stats", "--json"))
    assert (told["version"], told["hits"], told["misses"]) == (1, 90, 10)
    (site,) = told["sites"]
    assert (site["name"], site["hits"], site["hit_cost"]) == ("view v", 90, 0.01)
    assert site["loss"]


def test_nothing_counted_is_told_as_well() -> None:
    assert "0 hits, 0 misses" in run("stats")


def test_all_counts_can_be_reset() -> None:
    sites.site_of("view v").add({"hits": 5})
    assert published.publish()
    assert "5 hits" in run("stats", "--reset")
    assert "0 hits" in run("stats")


# warm


def test_what_was_warmed_is_a_hit() -> None:
    names = (f"{HERE}all_industries", f"{HERE}called", "page", f"{HERE}one", "decorated", "mixed")
    for _ in range(40):
        told = run("warm", *names, host="testserver")
        if " 0 answers made" in told:  # the pulse has come back after clear()
            break
    assert told.startswith("8 asked for: 0 answers made")
    client = Client()
    for ask in (
        lambda: list(all_industries()),
        lambda: list(called("one")),
        lambda: list(called("two")),
        lambda: client.get("/page/"),
        lambda: client.get("/one/1/"),
        lambda: client.get("/one/2/"),
        lambda: client.get("/decorated/"),
        lambda: client.get("/mixed/"),
    ):
        assert queries_of(ask) == 0
    assert queries_of(lambda: list(not_warmed("one"))) == 1


def test_without_names_it_is_all_that_can_be() -> None:
    own = {job.name for job in warming.jobs() if HERE in job.name or job.name.startswith("GET /")}
    assert own >= {
        f"{HERE}all_industries()", f"{HERE}called('one')", f"{HERE}called('two')", "GET /page/",
        "GET /one/1/", "GET /one/2/", "GET /decorated/", "GET /mixed/", "GET /fails/",
    }  # fmt: skip
    assert not [name for name in own if "not_warmed" in name or "other" in name]


def test_views_by_setting_are_asked_for_too(settings: Any) -> None:
    def paths(views: dict[str, Any]) -> set[str]:
        settings.QUERYBUDGET = {"CACHE": {"VIEWS": views}}
        return {job.name for job in warming.jobs() if job.name.startswith("GET /o")}

    given = {"GET /one/1/", "GET /one/2/"}
    assert paths({"oth*": 60}) == given | {"GET /other/"}
    assert paths({"other": 0}) == given
    assert paths({"one": {"timeout": 60, "warm": ["/one/3/"]}}) == given | {"GET /one/3/"}
    assert paths({"other": "wrong"}) == given


def test_views_are_asked_for_as_visitors_do(settings: Any) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    asker = warming._Asker("", https=True)
    request = asker._request("/page/?a=b")
    assert request.build_absolute_uri() == "https://shop.example/page/?a=b"


def test_what_fails_is_told_and_the_rest_is_made() -> None:
    with pytest.raises(CommandError, match=r"GET /fails/: status 503"):
        run("warm", "fails", "page", host="testserver")


def test_a_bar_is_drawn_where_somebody_looks() -> None:
    class Terminal(StringIO):
        def isatty(self) -> bool:
            return True

    err = Terminal()
    call_command(
        "querybudget", "cache", "warm", f"{HERE}called", stdout=StringIO(), stderr=err,
        no_color=True,
    )  # fmt: skip
    assert "1/2" in err.getvalue()
    assert f"[{'#' * 30}] 2/2" in err.getvalue()


def test_nothing_to_warm_is_an_error() -> None:
    with pytest.raises(CommandError, match="nothing to warm"):
        run("warm", "nowhere")


@pytest.mark.parametrize("warm", ["one", 7])
def test_a_wrong_warm_is_named(warm: Any) -> None:
    for wrong in (
        lambda: cached_view(60, warm=warm),
        lambda: cached_queryset(timeout=60, warm=warm),
        lambda: cached_queryset(Industry.objects.all(), 60, warm=[]),
    ):
        with pytest.raises(TypeError, match="warm"):
            wrong()


# invalidate


@pytest.mark.parametrize(
    "arguments", [["jobs.Industry"], ["jobs_industry"], [f"view:{HERE}page"], ["--everything"]]
)
def test_what_is_named_is_dropped(arguments: list[str]) -> None:
    client = Client()
    for _ in range(40):
        client.get("/page/")
        if queries_of(lambda: client.get("/page/")) == 0:
            break
    assert queries_of(lambda: client.get("/page/")) == 0
    assert "nvalidated" in run("invalidate", *arguments)
    assert queries_of(lambda: client.get("/page/")) == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([], "Give names"),
        (["x", "--everything"], "Give names"),
        (["x", "--using", "nowhere"], "nowhere"),
        ([""], "empty"),
    ],
)
def test_bad_arguments_are_named(arguments: list[str], words: str) -> None:
    with pytest.raises(CommandError, match=words):
        run("invalidate", *arguments)
