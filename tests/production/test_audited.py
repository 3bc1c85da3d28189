"""What the cache's audit finds is told of the view that was given the answer."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO

import pytest
from django.core.handlers.asgi import ASGIHandler
from django.core.management import call_command
from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.test import Client
from django.test.utils import override_settings
from django.urls import path

from django_querybudget.cache import cached_queryset, cached_view
from django_querybudget.cache.reading import audit
from django_querybudget.production import measured
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.production.summary import Row, summarised
from jobs.models import Industry
from tests.cache.views.visitors import Visitor, by_asgi
from tests.production.conftest import SECTION

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.urls(__name__)]


@cached_view(60, vary_on=())
def names(request: HttpRequest) -> HttpResponse:
    return HttpResponse([each.name for each in Industry.objects.order_by("pk")])


@cached_view(60, vary_on=())
async def in_async(request: HttpRequest) -> HttpResponse:
    return HttpResponse([each.name async for each in Industry.objects.order_by("pk")])


def part(request: HttpRequest) -> HttpResponse:
    return HttpResponse([each.name for each in cached_queryset(Industry.objects.order_by("pk"))])


urlpatterns = [
    path("names/", names, name="names"),
    path("in_async/", in_async, name="in_async"),
    path("part/", part, name="part"),
]


@pytest.fixture(autouse=True)
def audited(record: ProcessRecord) -> Iterator[None]:
    del record  # it has settings of its own
    audit._logged.clear()
    Industry.objects.bulk_create([Industry(name="one"), Industry(name="two")])
    cache = {"AUDIT": 1.0, "CLOCK_SKEW": 0}
    with override_settings(
        QUERYBUDGET={"PRODUCTION": SECTION, "CACHE": cache}, ALLOWED_HOSTS=["*"]
    ):
        yield


def write_past_django() -> None:
    connection.ensure_connection()
    connection.connection.execute("UPDATE jobs_industry SET name = 'new' WHERE name = 'one'")


def ask(url: str) -> None:
    if url == "/in_async/":
        Visitor(by_asgi(ASGIHandler())).ask(url)
    else:
        Client().get(url)


def rows() -> dict[str, Row]:
    return {row.key.name: row for row in summarised(read_picture(3600).whole)}


@pytest.mark.parametrize("url", ["/names/", "/in_async/", "/part/"])
def test_hits_are_audited_for_the_view_that_had_them(record: ProcessRecord, url: str) -> None:
    for _ in range(3):
        ask(url)
    assert record.flush()  # the requests themselves are told, and what comes now is added
    write_past_django()
    ask(url)
    assert record.flush()
    row = rows()[url.strip("/")]
    assert (row.requests, row.hits, row.audited, row.stale) == (4, 3, 3, 1)


def test_outside_of_a_request_they_are_the_works(record: ProcessRecord) -> None:
    with measured("task", "nightly"):
        for _ in range(3):
            list(cached_queryset(Industry.objects.order_by("pk")))
    assert record.flush()
    row = rows()["nightly"]
    assert (row.hits, row.audited, row.stale) == (2, 2, 0)


def test_the_report_says_so(record: ProcessRecord) -> None:
    for _ in range(3):
        ask("/names/")
    write_past_django()
    for url in ("/names/", "/part/", "/part/"):
        ask(url)
    assert record.flush()
    out = StringIO()
    call_command("querybudget", "report", stdout=out)
    assert "Cached answers: stale 1 of 4 audited." in out.getvalue()
    assert "  stale 1 of 3: GET names\n" in out.getvalue()
    assert "GET part" not in out.getvalue().partition("Cached answers")[2]
    out = StringIO()
    call_command("querybudget", "report", "--json", stdout=out)
    told = {each["name"]: each for each in json.loads(out.getvalue())["series"]}
    assert (told["names"]["audited"], told["names"]["stale"]) == (3, 1)


def test_without_an_audit_nothing_is_said(record: ProcessRecord) -> None:
    with override_settings(QUERYBUDGET={"PRODUCTION": SECTION, "CACHE": {}}):
        for _ in range(2):
            ask("/names/")
        assert record.flush()
        out = StringIO()
        call_command("querybudget", "report", stdout=out)
    assert "GET names" in out.getvalue()
    assert "Cached answers" not in out.getvalue()
