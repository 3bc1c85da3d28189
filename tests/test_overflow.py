"""A scope keeps ``MAX_RECORDS`` statements; counts stay exact past that, and memory flat."""

from __future__ import annotations

import copy
import logging
import pickle
import tracemalloc
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from hypothesis import given
from hypothesis import strategies as st

from django_querybudget import Budget, capture_queries
from django_querybudget.capture import Recording
from django_querybudget.middleware import QueryBudgetMiddleware
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports.report import QueryReport
from jobs.models import Industry

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

STATEMENTS = [
    "SELECT a FROM t WHERE id = %s",
    "SELECT a FROM t WHERE id IN (%s)",
    "INSERT INTO t (a) VALUES (%s)",
    "UPDATE t SET a = %s",
    "BEGIN",
]
records = st.builds(
    RawRecord,
    sql=st.sampled_from(STATEMENTS),
    # -1 and -2 have one hash; 1, True and 1.0 are equal; a list of the driver's is no key.
    params=st.sampled_from([(1,), (True,), (1.0,), (-1,), (-2,), ([1],), None, ("1",)]),
    many=st.booleans(),
    alias=st.sampled_from(["default", "other"]),
    vendor=st.just("sqlite"),
    started=st.just(0.0),
    duration=st.just(0.25),
    error=st.none(),
    origin=st.none(),
    trail=st.none(),
)


def log_of(statements: list[RawRecord], most: int) -> QueryLog:
    log = QueryLog()
    for raw in statements:
        (log.append if len(log.raw) < most else log.count_only)(raw)
    return log


def counts(log: QueryLog) -> tuple[float, ...]:
    return (
        log.count,
        log.duration,
        log.duplicate_count,
        log.similar_count,
        log.write_count,
        *(log.on(alias).count for alias in ("default", "other")),
    )


@given(st.lists(records), st.integers(0, 8))
def test_every_count_is_what_it_is_of_a_log_that_keeps_all(
    statements: list[RawRecord], most: int
) -> None:
    whole, cut = log_of(statements, len(statements)), log_of(statements, most)
    assert counts(cut) == counts(whole)
    assert counts(cut.on("other"))[:3] == counts(whole.on("other"))[:3]
    assert cut.queries == whole.queries[: len(cut.queries)]
    assert (whole.dropped, cut.dropped) == (0, len(whole.queries) - len(cut.queries))


def test_values_of_one_hash_are_no_duplicates() -> None:
    statements = [
        RawRecord(STATEMENTS[0], params, False, "default", "sqlite", 0.0, 0.0)
        for params in [(-1,), (-2,), (1,), (True,), (1.0,)]
    ]
    assert log_of(statements, 1).duplicate_count == 0


@pytest.mark.parametrize("again", [copy.deepcopy, lambda log: pickle.loads(pickle.dumps(log))])  # noqa: S301 - of our own making
def test_a_copy_counts_as_much(again: Any) -> None:
    log = log_of([RawRecord(STATEMENTS[0], (1,), False, "default", "sqlite", 0.0, 0.5)] * 9, 4)
    assert counts(again(log)) == counts(log)
    assert again(log).dropped == 5


@pytest.fixture
def keep(settings: Any) -> Any:
    def most(number: int) -> None:
        settings.QUERYBUDGET = {**settings.QUERYBUDGET, "MAX_RECORDS": number, "HEADERS": True}

    return most


def test_a_capture_keeps_the_first_and_counts_the_others(keep: Any) -> None:
    keep(3)
    with capture_queries() as log, transaction.atomic():
        for number in range(3):
            Industry.objects.create(name=f"industry {number}")
        for _ in range(4):
            Industry.objects.count()
    # The savepoint of atomic() is one of the three.
    assert (len(log.queries), log.count, log.dropped) == (2, 7, 5)
    assert (log.write_count, log.duplicate_count, len(log.evidence.records)) == (3, 3, 3)
    report = QueryReport(name="it", log=log, budget=Budget(6))
    assert report.headline == "it: 7 queries executed, budget is 6"
    assert 'Only the first 2 of 7 queries were kept: see QUERYBUDGET["MAX_RECORDS"].' in str(report)


def test_a_budget_counts_what_was_not_kept(keep: Any) -> None:
    keep(1)
    with capture_queries() as log:
        for _ in range(4):
            Industry.objects.update(name="a")
    budget = Budget(3, writes=3, duplicates=2, similar=2, duration=0)
    exceeded = {violation.dimension: violation.actual for violation in budget.check(log)}
    assert exceeded.pop("duration") == log.duration > log.queries[0].duration
    assert exceeded == {"max_queries": 4, "writes": 4, "duplicates": 3, "similar": 3}


def many(request: HttpRequest) -> Any:
    def rows() -> Iterator[bytes]:
        for number in range(int(request.GET["rows"])):
            with connection.cursor() as cursor:
                cursor.execute("SELECT %s", [number])
            yield b"."

    return StreamingHttpResponse(rows())


urlpatterns = [path("many", many)]


def test_a_stream_says_how_much_it_kept(
    keep: Any, client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    keep(5)
    with caplog.at_level(logging.DEBUG, "django_querybudget"):
        b"".join(client.get("/many?rows=20"))  # type: ignore[arg-type]
    (said,) = [each.getMessage() for each in caplog.records if "many" in each.getMessage()]
    assert said.startswith("GET /many: 20 queries, first 5 kept, ")


def test_the_headers_say_so_too(keep: Any) -> None:
    keep(2)

    def get_response(request: HttpRequest) -> Any:
        for _ in range(5):
            Industry.objects.count()
        return HttpResponse()

    request = RequestFactory().get("/")
    request.resolver_match = None  # type: ignore[assignment]
    response: Any = QueryBudgetMiddleware(get_response)(request)
    assert response.headers["X-Query-Count"] == "5"
    assert 'desc="5 queries, 4 duplicates, first 2 kept"' in response.headers["Server-Timing"]


def bytes_kept(queries: int) -> int:
    """Return what a recording holds of that many different queries, in bytes.

    The recorder is called as the hook calls it: what a database does for each is no matter here.
    """
    recording = Recording(origins=False)
    cursor = connection.cursor()
    tracemalloc.start()
    try:
        for number in range(queries):
            params = (number, "x" * 20)
            recording._recorder("SELECT %s", params, False, connection, 0, 0.0, None, cursor)
        held = tracemalloc.get_traced_memory()[0]
        assert recording.log.count == queries
        return held
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_past_what_is_kept(keep: Any) -> None:
    """100,000 queries: what is left of each is eight bytes in a set, to know duplicates by."""
    keep(1_000)
    some = bytes_kept(2_000)
    most = bytes_kept(100_000)
    assert most - some < 100 * 100_000
    assert most < 12 * 1024 * 1024
