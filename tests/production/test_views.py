"""What a view's request adds to the record of production, and what bounds it."""

from __future__ import annotations

import asyncio
import random
import sys
import tracemalloc
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import AsyncClient, Client, RequestFactory
from django.urls import path, re_path
from django.urls.resolvers import ResolverMatch

from django_querybudget import production, query_budget
from django_querybudget.cache import cached_queryset
from django_querybudget.middleware import QueryBudgetMiddleware
from django_querybudget.production import record as record_module
from django_querybudget.production.encoding import encoded
from django_querybudget.production.measures import COUNTERS, MEASURES, SIZE, observe
from django_querybudget.production.pending import Pending
from django_querybudget.production.process import ProcessRecord
from django_querybudget.production.reading import read_picture
from django_querybudget.production.record import (
    LONGEST_NAME,
    MOST_SERIES,
    OTHER,
    Cost,
    Record,
    Remark,
    Said,
    Series,
    SeriesKey,
    ShapeAt,
    series_key,
)
from django_querybudget.production.scopes import Noted, Reporting
from django_querybudget.production.store import RecordStore
from django_querybudget.recording.raw import RawRecord
from django_querybudget.reports import reporters
from django_querybudget.sql import memory
from jobs.models import Industry
from tests.production_process import loaded_in_production

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

ROOT = Path(__file__).parent.parent.parent


def three(request: HttpRequest, pk: int = 0) -> HttpResponse:
    for number in (1, 1, 2):
        Industry.objects.filter(pk=number).exists()
    return HttpResponse()


@query_budget(1, on_exceed="log")
def over(request: HttpRequest) -> HttpResponse:
    return three(request)


def reads_cached(request: HttpRequest) -> HttpResponse:
    for _ in range(3):
        list(cached_queryset(Industry.objects.all()))
    return HttpResponse()


def fetches(request: HttpRequest) -> HttpResponse:
    Industry.objects.using("postgres").filter(name="3").update(name="3")
    list(Industry.objects.using("postgres").all())
    return HttpResponse()


def streams(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(str(Industry.objects.filter(pk=pk).exists()) for pk in range(4))


async def awaits(request: HttpRequest) -> HttpResponse:
    await Industry.objects.filter(pk=1).aexists()
    return HttpResponse()


LONG = "x" * 10_000

urlpatterns = [
    path("three/<int:pk>/", three, name="three"),
    path("unnamed/<int:pk>/", three),
    path("over/", over, name="over"),
    path("cached/", reads_cached, name="cached"),
    path("fetches/", fetches, name="fetches"),
    path("streams/", streams, name="streams"),
    path("awaits/", awaits, name="awaits"),
    re_path(r"^long/$", three, name=LONG),
]


def test_each_value_is_added_to_the_measure_of_its_name(record: ProcessRecord) -> None:
    noted = Noted()
    noted.hits, noted.misses, noted.bypasses = 13, 17, 19
    report: Any = SimpleNamespace(
        log=SimpleNamespace(totals=(7, 0.5, 3, 11), evidence=object(), raw=[]),
        findings=[], violations=["one", "two"], budget=SimpleNamespace(max_queries=5),
    )  # fmt: skip
    key = series_key("view", "each", "GET")
    Reporting(record)._add(key, report, noted, report)
    record.flush()
    series = read_picture(3600).whole.series[key]
    assert {each.name: series.total(each.name) for each in MEASURES} == {
        "queries": 7, "database_seconds": 0.5, "rows": 11, "duplicates": 3, "nplusone": 0,
        "violations": 2, "cache_hits": 13, "cache_misses": 17, "cache_bypasses": 19,
    }  # fmt: skip


def series_of(title: str) -> Series:
    found = {key.title: each for key, each in read_picture(3600).whole.series.items()}
    return found[title]


@pytest.mark.parametrize(("values", "share", "found"), [
    ((2200.0,), 0.95, 1000),  # above all bounds: the highest of them, not none
    ((0.0, 0.0, 2200.0), 0.5, 0),
    ((4.0, 2200.0), 0.95, 1000),
    ((), 0.95, 0),
])  # fmt: skip
def test_a_quantile_above_all_bounds_is_the_last_of_them(
    values: tuple[float, ...], share: float, found: float
) -> None:
    numbers = [0.0] * SIZE
    for value in values:
        observe(numbers, [value, *[None] * (len(MEASURES) - 1)])
    assert MEASURES[0].quantile(numbers, share) == found


def test_each_view_has_its_counts_and_the_lines_they_come_from(record: ProcessRecord) -> None:
    for pk in range(5):
        Client().get(f"/three/{pk}/")
    assert record.flush()
    found = series_of("GET three")
    assert found.requests == 5
    assert found.total("queries") == 15
    assert found.total("duplicates") == 5
    assert found.seconds > 0
    assert MEASURES[0].buckets(found.numbers) == [0, 0, 0, 5, *[0] * 8]  # each above 2, up to 5
    assert MEASURES[0].quantile(found.numbers, 0.5) == pytest.approx(3.5)
    ((shape, cost),) = found.costliest()
    assert shape.sql.startswith("SELECT ? AS a FROM jobs_industry WHERE")
    assert shape.place.startswith("tests/production/test_views.py:")
    assert cost.queries == 15
    assert cost.seconds == pytest.approx(found.seconds, abs=1e-5)


def test_names_are_routes_and_methods_the_standards(record: ProcessRecord) -> None:
    client = Client()
    client.get("/unnamed/17/")
    client.get("/nowhere/17/")
    client.generic("BREW", "/three/1/")
    client.head("/three/1/")
    client.get("/long/")
    record.flush()
    titles = {key.title for key in read_picture(3600).whole.series}
    assert titles == {
        "GET /unnamed/<int:pk>/",
        "GET no view",
        "other three",
        "HEAD three",
        f"GET {LONG[: LONGEST_NAME - 1]}…",
    }


@pytest.mark.django_db(databases=["default", "postgres"])
def test_rows_are_those_that_were_fetched(record: ProcessRecord) -> None:
    """As ``Budget(rows=)`` and ``X-Query-Rows`` have them: what is written is none."""
    Industry.objects.using("postgres").bulk_create(Industry(name=str(each)) for each in range(7))
    for _ in range(2):
        Client().get("/fetches/")
    Client().get("/three/1/")
    record.flush()
    assert series_of("GET fetches").total("rows") == 2 * 7
    rows = next(each for each in MEASURES if each.name == "rows")
    assert rows.known(series_of("GET fetches").numbers) == 2
    assert rows.known(series_of("GET three").numbers) == 0  # SQLite's driver does not tell


def test_budgets_and_the_cache_are_told(record: ProcessRecord) -> None:
    client = Client()
    Industry.objects.create(name="b")
    for url in ("/over/", "/over/", "/cached/"):
        client.get(url)
    record.flush()
    over_ = series_of("GET over")
    assert (over_.budget, over_.total("violations"), over_.requests) == (1, 2, 2)
    cached = series_of("GET cached")
    reads = [cached.total(f"cache_{what}") for what in ("hits", "misses", "bypasses")]
    # In a test's transaction that has written nothing of it, or that has: each read is counted.
    assert sum(reads) == 3


def test_no_method_that_a_client_invents_is_remembered() -> None:
    remembered = record_module._series_key
    remembered.cache_clear()
    keys = {series_key("view", "jobs:list", f"M{number}" * 1000) for number in range(50)}
    assert keys == {SeriesKey("view", "jobs:list", "other")}
    assert remembered.cache_info().currsize == 1


def test_a_stream_counts_at_its_end(record: ProcessRecord) -> None:
    response = Client().get("/streams/")
    assert response.getvalue() == b"FalseFalseFalseFalse"
    record.flush()
    assert series_of("GET streams").total("queries") == 4


@pytest.mark.django_db(transaction=True)
def test_an_async_view_counts(record: ProcessRecord) -> None:
    asyncio.run(AsyncClient().get("/awaits/"))
    record.flush()
    assert series_of("GET awaits").total("queries") == 1


def test_five_hundred_series_and_the_rest_in_other() -> None:
    record = Record()
    for number in range(2 * MOST_SERIES):
        record.of(series_key("view", f"view {number}", "GET")).numbers[0] += 1
    assert len(record.series) == MOST_SERIES
    assert record.series[OTHER].requests == MOST_SERIES + 1
    again = Record()
    again.merge(record)
    again.merge(record)
    assert sum(each.requests for each in again.series.values()) == 4 * MOST_SERIES


def worst_raws(number: str) -> list[RawRecord]:
    """Statements of a request: long texts, each another's shape."""
    wide = "😀" * 1500
    return [
        RawRecord(
            f"SELECT a{number}_{each} FROM t WHERE \"{wide}\" = 1", (), False, "default", "sqlite",
            0.0, 0.001 * each, None, None, None,
        )
        for each in range(20)
    ]  # fmt: skip


def test_a_process_holds_four_mebibytes_at_most(
    record: ProcessRecord, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More views than have a series, names of wide characters, each with more shapes than fit.

    At the peak: while one record is written, requests fill the next.
    """
    values = (3, 0.01, 5, 1, 0, 1, 2, 0, 0)
    sizes: list[int] = []

    def fill(turn: int) -> None:
        for number in range(MOST_SERIES + 50):
            name = "".join(chances.choices("😀🙈🙉🙊🚀🚁🚂🚃🚄🚅🚆🚇🚈🚉🚊🚋", k=300))
            remarks = [(Remark("bypass", name), Said(1, ""))]
            raws = worst_raws(f"{turn}{name[:150]}")
            key = series_key("view", f"{number}{name}", "GET")
            record.add(key, values, raws, budget=turn, remarks=remarks)

    def written(store: RecordStore, values: list[tuple[str, bytes, int]], *_: object) -> bool:
        nonlocal sizes
        sizes = [len(each) for _, each, _ in values]
        fill(1)
        return True

    chances = random.Random(1)  # noqa: S311 - no secret
    monkeypatch.setattr(ProcessRecord, "_start", lambda self: None)
    record.flush()  # the store and its modules are there
    record.add(series_key("view", "a"), values, [])
    record.flush()
    monkeypatch.setattr(RecordStore, "write", written)
    tracemalloc.start()
    try:
        with memory._pool.lock:  # what is remembered of texts has a budget of its own
            fill(0)
            for _ in range(3):
                record.flush()
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert min(sizes) > 50_000
    assert 1_000_000 < held < peak
    assert peak < 4 * 1024 * 1024


DUMMY = "django.core.cache.backends.dummy.DummyCache"


def test_shapes_are_bounded_and_the_costliest_stay() -> None:
    record = Record()
    for number in range(400):
        series = record.of(series_key("view", str(number)))
        for each in range(30):
            place = f"jobs/views.py:{each}" + "x" * 150
            record.add_shape(series, ShapeAt("SELECT " + "x" * 130, place), Cost(1, each))
    for series in record.series.values():
        assert len(series.shapes) <= 16
    costliest = max(
        cost.seconds for each in record.series.values() for cost in each.shapes.values()
    )
    assert costliest == 29
    assert len(encoded({"": record})) < 450_000


def test_statements_without_end_are_known_by_their_beginning() -> None:
    pending = Pending()
    key = SeriesKey("view", "a", "GET")
    many = ", ".join(["%s"] * 2_000)
    raws = [
        RawRecord(f"SELECT {n} FROM t WHERE a IN ({many})", (), False, "a", "b", 0, 1, None, None)
        for n in range(500)
    ]
    pending.add(key, (500, 500.0, None, 0, None, None, 0, 0, 0), raws, None)
    assert pending.record.series[key].requests == 1
    assert pending.is_full
    held = sum(map(sys.getsizeof, pending._series[key][1]))
    assert held < 300_000
    record = Record()
    pending.add_shapes_to(record)
    assert 50 < sum(each.queries for each in record.series[key].shapes.values()) < 500


def test_off_it_adds_no_reporter_and_no_watcher() -> None:
    request = RequestFactory().get("/")
    request.resolver_match = ResolverMatch(three, (), {}, url_name="three")
    before = reporters.REPORTERS
    record = production.start()
    assert len(reporters.REPORTERS) == len(before) + 1
    production.stop()
    assert before == reporters.REPORTERS
    QueryBudgetMiddleware(three)(request)
    assert record._pending.record.series == {}
    assert "_querybudget_noted" not in request.__dict__


def test_a_request_costs_a_bounded_number_of_calls(record: ProcessRecord) -> None:
    """The micro cost as a count: calls of Python functions that one request adds."""
    request = RequestFactory().get("/")
    request.resolver_match = ResolverMatch(three, (), {}, url_name="three")
    middleware = QueryBudgetMiddleware(three)

    def calls() -> int:
        counted = 0

        def count(frame: Any, event: str, argument: object) -> None:
            nonlocal counted
            counted += event == "call"

        middleware(request)
        sys.setprofile(count)
        middleware(request)
        sys.setprofile(None)
        return counted

    with_it = calls()
    production.stop()
    without = calls()
    production.start()
    # 3 queries: two calls of the watcher each, and what it asks.
    assert with_it - without <= 60


_FLUSH = """
from django_querybudget import production
assert production.current_record().flush()
"""


def test_a_process_that_records_imports_no_causes_and_no_cache() -> None:
    loaded = loaded_in_production({"PRODUCTION": {}}, _FLUSH)
    assert list(dict.fromkeys(name.split(".")[1] for name in loaded)) == [
        "apps", "budgets", "capture", "checks", "conf", "evidence", "exceptions", "indexes",
        "messages", "middleware", "production", "recording", "reports", "routing",
        "signals", "sql", "stacks", "work",
    ]  # fmt: skip
    own = [name.split(".")[2:] for name in loaded if ".production." in name]
    assert own == [
        ["decoding"], ["encoding"], ["exporting"], ["intervals"], ["measures"], ["pending"],
        ["process"], ["record"], ["scopes"], ["store"], ["tasks_and_commands"],
    ]  # fmt: skip


def test_the_numbers_of_a_series_are_flat() -> None:
    assert MEASURES[-1].end + len(COUNTERS) == SIZE == len(Series().numbers)
    assert [each.total for each in COUNTERS] == [MEASURES[-1].end, MEASURES[-1].end + 1]
    assert settings.QUERYBUDGET.get("PRODUCTION") is None  # the suite's own has none
