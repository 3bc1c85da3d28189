"""Rows: how many the queries fetch, as far as the driver tells; what is said where it does not."""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import DatabaseError, connections, transaction
from django.http import HttpRequest, HttpResponse
from django.test import RequestFactory, override_settings
from hypothesis import given
from hypothesis import strategies as st
from pymysql.cursors import SSCursor

from django_querybudget import Budget, QueryBudgetExceeded, capture_queries, query_budget
from django_querybudget.middleware import QueryBudgetMiddleware
from django_querybudget.recording.fetched import Fetched
from django_querybudget.recording.raw import UNKNOWN_FROM
from django_querybudget.recording.recorders import make_recorder
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports.report import QueryReport
from django_querybudget.reports.reporters import rows_told
from django_querybudget.testing import assert_max_queries
from jobs.models import Industry

COUNT = 7


def log_of(*rowcounts: int, sql: str = "SELECT * FROM job", vendor: str = "postgresql") -> QueryLog:
    log = QueryLog()
    for rowcount in rowcounts:
        log.append(RawRecord(sql, None, False, "default", vendor, 0.0, 0.001, rowcount=rowcount))
    return log


def failing(alias: str) -> None:
    with pytest.raises(DatabaseError), transaction.atomic(using=alias):
        connections[alias].cursor().execute("SELECT * FROM there_is_no_such_table")


def two_sets_of_parameters(alias: str) -> None:
    with connections[alias].cursor() as cursor:
        cursor.executemany("UPDATE jobs_industry SET name = %s WHERE id = %s", [("a", 1), ("b", 2)])


def expected_of(vendor: str) -> dict[str, tuple[Callable[[str], object], int | None]]:
    """What each kind of statement fetches, per vendor: None where that is not known."""
    told = vendor != "sqlite"
    objects = Industry.objects.using

    def rows(number: int) -> int | None:
        return number if told else None

    return {
        "all": (lambda alias: list(objects(alias).all()), rows(COUNT)),
        "a part": (lambda alias: list(objects(alias).all()[:3]), rows(3)),
        "none": (lambda alias: list(objects(alias).filter(name="no such")), rows(0)),
        "first": (lambda alias: objects(alias).order_by("pk").first(), rows(1)),
        "count": (lambda alias: objects(alias).count(), rows(1)),
        "read in part": (lambda alias: next(iter(objects(alias).values_list("pk"))), rows(COUNT)),
        # A server-side cursor, on PostgreSQL alone: what it will send is not known in advance.
        "iterator": (
            lambda alias: list(objects(alias).iterator()),
            COUNT if vendor == "mysql" else None,
        ),
        # Written, not fetched; RETURNING among them.
        "insert": (lambda alias: objects(alias).create(name="new"), 0),
        "update": (lambda alias: objects(alias).filter(name="0").update(name="same"), 0),
        "many": (two_sets_of_parameters, 0),
        "failed": (failing, 0),
    }


@pytest.mark.django_db
def test_what_each_statement_fetches(vendor_alias: str) -> None:
    Industry.objects.using(vendor_alias).bulk_create(
        Industry(name=str(number)) for number in range(COUNT)
    )
    found: dict[str, int | None] = {}
    expected = expected_of(connections[vendor_alias].vendor)
    for name, (run, _) in expected.items():
        with transaction.atomic(using=vendor_alias), capture_queries() as log:
            run(vendor_alias)
            transaction.set_rollback(True, using=vendor_alias)
        found[name] = log.rows
        assert log.rows_unknown == (1 if log.rows is None else 0), name
    assert found == {name: rows for name, (_, rows) in expected.items()}


def test_rows_of_a_log() -> None:
    assert (log_of().rows, log_of().rows_unknown) == (0, 0)
    assert log_of(-1, -1).rows is None
    partly = log_of(3, -1, 4, -1)
    assert (partly.rows, partly.rows_unknown) == (7, 2)
    assert [query.rows for query in partly.queries] == [3, None, 4, None]
    writes = log_of(9, sql="UPDATE job SET a = 1")
    assert (writes.rows, writes.rows_unknown) == (0, 0)
    assert partly.on("other").rows == 0


@pytest.mark.django_db(databases=["mariadb"])
def test_what_an_unbuffered_cursor_says_is_no_number_of_rows() -> None:
    """It says 2⁶⁴ - 1 until its rows are fetched."""
    connection = connections["mariadb"].copy()
    options = {**connection.settings_dict["OPTIONS"], "cursorclass": SSCursor}
    connection.settings_dict = {**connection.settings_dict, "OPTIONS": options}
    try:
        with capture_queries() as log, connection.cursor() as cursor:
            cursor.execute("SELECT 1 UNION SELECT 2")
            assert cursor.cursor.rowcount == 2**64 - 1
            assert cursor.fetchall() == [(1,), (2,)]
    finally:
        connection.close()
    (query,) = log.queries
    assert (query.rows, log.rows, log.rows_unknown) == (None, None, 1)
    assert log.totals.rows is None


@pytest.mark.parametrize(
    ("told", "error", "rows"),
    [
        (7, None, 14),
        (UNKNOWN_FROM - 1, None, 2 * UNKNOWN_FROM - 2),
        (UNKNOWN_FROM, None, None),
        (7, DatabaseError(), None),  # of the cursor's statement before
        (None, None, None), ("7", None, None), (2.0, None, None), (True, None, None),
    ],
)  # fmt: skip
def test_what_is_no_number_is_not_known(
    told: object, error: Exception | None, rows: int | None
) -> None:
    """PEP 249 allows for None; what a host's cursor says else costs no query and no header."""
    log = QueryLog()
    record, close = make_recorder(log, None, origins=False, most=10)
    driver = SimpleNamespace(rowcount=told)
    for _ in range(2):
        record(
            "SELECT 1", None, False, connections["postgres"], 0.0, 0.1, error,
            SimpleNamespace(cursor=driver),
        )  # fmt: skip
    close()
    assert {each.rowcount for each in log.raw} == {-1 if rows is None else told}
    assert (log.totals.queries, log.totals.rows) == (2, rows)
    # What failed has fetched nothing.
    assert log.rows_unknown == (2 if rows is None and error is None else 0)


RAWS = st.builds(
    RawRecord,
    sql=st.sampled_from(["SELECT 1", "UPDATE t SET a = 1", "BEGIN", "SELECT 2"]),
    params=st.just(()),
    many=st.booleans(),
    alias=st.just("default"),
    vendor=st.sampled_from(["postgresql", "mysql", "sqlite"]),
    started=st.just(0.0),
    duration=st.just(0.5),
    error=st.sampled_from([None, None, DatabaseError]),
    origin=st.none(),
    trail=st.none(),
    inside=st.just(0),
    rowcount=st.integers(-1, 9),
)


@given(st.lists(RAWS, max_size=6), st.integers(0, 6))
def test_the_totals_have_the_rows_of_the_log(raws: list[RawRecord], kept: int) -> None:
    log = QueryLog()
    for raw in raws[:kept]:
        log.append(raw)
    for raw in raws[kept:]:
        log.count_only(raw)
    assert (log.totals.rows or 0) == log.fetched.rows
    known = [raw for raw in raws if raw.rows is not None and raw.error is None]
    assert bool(known) <= (log.totals.rows is not None)


def test_a_header_looks_at_each_query_once(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[RawRecord] = []
    add = Fetched.add

    def noted(self: Fetched, raw: RawRecord) -> None:
        seen.append(raw)
        add(self, raw)

    monkeypatch.setattr(Fetched, "add", noted)
    log = log_of(3, -1, 4)
    assert rows_told(log) == "7;unknown=1"
    assert len(seen) == 3


@pytest.mark.django_db(databases=["postgres"])
def test_those_past_the_limit_are_counted() -> None:
    Industry.objects.using("postgres").bulk_create(Industry(name=str(n)) for n in range(COUNT))
    with override_settings(QUERYBUDGET={"MAX_RECORDS": 1}), capture_queries() as log:
        for _ in range(3):
            list(Industry.objects.using("postgres"))
        list(Industry.objects.using("postgres").iterator())
    assert log.dropped == 3
    assert (log.rows, log.rows_unknown) == (3 * COUNT, 1)
    assert log.on("default").rows == 0


# Budgets.


@pytest.mark.django_db(databases=["postgres"])
def test_two_queries_that_fetch_too_much() -> None:
    Industry.objects.using("postgres").bulk_create(Industry(name=str(n)) for n in range(COUNT))
    with assert_max_queries(2, rows=COUNT + 1):
        list(Industry.objects.using("postgres"))
        Industry.objects.using("postgres").count()

    @query_budget(2, rows=13)
    def twice() -> None:
        list(Industry.objects.using("postgres").order_by("name"))
        list(Industry.objects.using("postgres"))

    with pytest.raises(QueryBudgetExceeded, match="14 rows fetched, budget is 13") as caught:
        twice()
    text = str(caught.value)
    assert "ms, 14 rows)" in text
    assert "Next: fetch fewer rows (paginate, filter, aggregate): SELECT" in text


@pytest.mark.django_db
@pytest.mark.parametrize("on_exceed", ["assertion", "raise", None])
def test_a_budget_that_cannot_be_judged_does_not_pass_silently(
    on_exceed: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    def run() -> None:
        asserted = on_exceed == "assertion"
        scope: Any = (
            assert_max_queries(9, rows=500)
            if asserted
            else query_budget(rows=500, on_exceed=on_exceed)
        )
        with scope:
            list(Industry.objects.all())

    unknown = "rows unknown for 1 of 1 query"
    if on_exceed is None:
        run()
        run()
        # Both times it is the same line of this file.
        assert caplog.text.count(unknown) == 1
        assert "Run this on PostgreSQL or MySQL" in caplog.text
    else:
        with pytest.raises(QueryBudgetExceeded, match=f"{unknown}, budget is 500 rows"):
            run()


def test_what_is_known_is_judged_all_the_same() -> None:
    report = QueryReport(name="GET jobs", log=log_of(600, -1), budget=Budget(rows=500))
    assert report.headline == (
        "GET jobs: 600 rows fetched, budget is 500; rows unknown for 1 of 2 queries"
    )
    within = QueryReport(name="GET jobs", log=log_of(400, 1), budget=Budget(rows=500))
    assert within.headline == "GET jobs: 2 queries, 1 duplicate, 401 rows, 2.0 ms"
    partly = QueryReport(name="GET jobs", log=log_of(400, -1))
    assert "400 rows (unknown for 1 query), 2.0 ms" in partly.headline
    # A file of 1,234,567 rows is not 1.23457e+06 of them.
    many = QueryReport(name="GET jobs", log=log_of(1_234_567), budget=Budget(rows=9))
    assert "1234567 rows fetched" in many.headline


def test_a_budget_of_other_databases_is_judged_by_theirs() -> None:
    log = log_of(3)
    log.append(RawRecord("SELECT 1", None, False, "replica", "sqlite", 0.0, 0.0))
    assert QueryReport(name="", log=log, budget=Budget(rows=3, using="default")).unjudged == ""
    assert QueryReport(name="", log=log, budget=Budget(rows=3)).unjudged != ""


# Headers, and the log of a view.


@pytest.mark.django_db
def test_the_header(vendor_alias: str, caplog: pytest.LogCaptureFixture) -> None:
    Industry.objects.using(vendor_alias).bulk_create(Industry(name=str(n)) for n in range(3))
    told = connections[vendor_alias].vendor != "sqlite"
    server_side = vendor_alias == "postgres"

    def view(request: HttpRequest) -> HttpResponse:
        if "none" not in request.GET:
            list(Industry.objects.using(vendor_alias))
        if "iterator" in request.GET:
            list(Industry.objects.using(vendor_alias).iterator())
        return HttpResponse()

    def header(path: str) -> str:
        request = RequestFactory().get(path)
        request.resolver_match = None
        response: Any = QueryBudgetMiddleware(view)(request)
        return str(response["X-Query-Rows"])

    with override_settings(QUERYBUDGET={"HEADERS": True, "NPLUSONE": "off"}):
        assert header("/?none") == "0"
        assert header("/") == ("3" if told else "unknown")
        partly = "3;unknown=1" if server_side else "6"
        assert header("/?iterator") == (partly if told else "unknown")


@pytest.mark.django_db
def test_of_a_view_it_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    report = QueryReport(name="GET jobs", log=log_of(-1), budget=Budget(rows=5))
    from django_querybudget.reports.reporters import write_log

    with caplog.at_level(logging.WARNING, "django_querybudget"):
        for _ in range(2):
            write_log(report, HttpRequest(), HttpResponse())
    assert caplog.messages == ["GET jobs: 1 query, rows unknown for 1 of 1 query, 1.0 ms"]


# The check.


@override_settings(
    QUERYBUDGET={
        "BUDGETS": {
            "*": {"rows": 500},
            "jobs:list": {"rows": 5, "using": "postgres"},
            "jobs:detail": 5,
            "jobs:broken": {"rows": -1},
        }
    }
)
def test_the_check_names_databases_that_do_not_tell() -> None:
    @query_budget(rows=3, using=["other"])
    def limited() -> None:
        """Something with a budget."""

    gc.collect()  # what other tests have decorated, and nobody holds
    found = {
        message.msg: message.hint
        for message in run_checks(tags=["querybudget"])
        if message.id == "querybudget.W013"
    }
    (settings, decorator) = sorted(found)
    assert settings.startswith("QUERYBUDGET[\"BUDGETS\"]['*'] limits rows, which is not judged on ")
    assert "'other' (sqlite)" in settings
    assert "postgres" not in settings
    assert "limited" in decorator
    assert f"({__file__}:" in decorator
    hint = (
        "PostgreSQL's and MySQL's do: name their aliases in using. "
        "See docs/reference/checks.rst#querybudget-w013"
    )
    assert set(found.values()) == {hint}
