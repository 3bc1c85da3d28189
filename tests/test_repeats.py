"""Said once: an unchanged log is analysed once, and what was told whole is one line."""

from __future__ import annotations

import logging
import sys
from typing import Any

import pytest
from django.test import Client

from django_querybudget import Budget, capture_queries, nplusone
from django_querybudget.conf import conf
from django_querybudget.recording.records import QueryLog
from django_querybudget.reports import enforcement, repeats
from django_querybudget.reports.report import QueryReport
from jobs.models import Industry, Subcategory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def rows() -> None:
    for number in range(8):
        industry = Industry.objects.create(name=f"industry {number}")
        Subcategory.objects.create(name=f"sub {number}", industry=industry)


def loop(rows: int = 8) -> QueryLog:
    with capture_queries() as log:
        for subcategory in Subcategory.objects.order_by("pk")[:rows]:
            assert subcategory.industry.name
    return log


def other_loop() -> QueryLog:
    with capture_queries() as log:
        for industry in Industry.objects.order_by("pk"):
            industry.subcategories.count()
    return log


def report_of(log: QueryLog, name: str = "GET list", budget: Budget | None = None) -> QueryReport:
    return QueryReport(name=name, log=log, budget=budget)


@pytest.fixture
def analyses(monkeypatch: pytest.MonkeyPatch) -> list[QueryLog]:
    """The logs that were analysed."""
    analysed: list[QueryLog] = []
    find = nplusone.find_nplusone

    def counted(log: QueryLog, **options: Any) -> Any:
        analysed.append(log)
        return find(log, **options)

    monkeypatch.setattr(nplusone, "find_nplusone", counted)
    return analysed


def test_the_same_log_is_analysed_once(analyses: list[QueryLog]) -> None:
    first = report_of(loop()).findings
    assert first
    assert report_of(loop()).findings == first
    assert len(analyses) == 1


@pytest.mark.parametrize("change", ["rows", "parameters", "lines", "threshold", "allowed", "name"])
def test_any_change_is_analysed_anew(analyses: list[QueryLog], change: str, settings: Any) -> None:
    before = report_of(loop()).findings
    if change == "rows":
        Subcategory.objects.all()[:1].get().delete()
    elif change == "parameters":
        last = Subcategory.objects.order_by("pk").last()
        assert last is not None
        Subcategory.objects.filter(pk=last.pk).update(industry=Industry.objects.first())
    elif change == "threshold":
        settings.QUERYBUDGET = {"NPLUSONE_THRESHOLD": 4}
    elif change == "allowed":
        settings.QUERYBUDGET = {"NPLUSONE_ALLOW": ["Subcategory.industry"]}
    log = other_loop() if change == "lines" else loop()
    after = report_of(log, "GET other" if change == "name" else "GET list").findings
    assert len(analyses) == 2
    assert bool(after) == (change != "allowed")
    assert before


def test_it_is_told_whole_once_then_in_a_line(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(3):
        enforcement.enforce_nplusone(report_of(loop()), "log")
    whole, *others = caplog.messages
    assert "select_related" in whole
    assert len(others) == 2
    for line in others:
        assert line.startswith("GET list: 9 queries")
        assert line.endswith("; 1 loop of queries, as told before")
        assert "\n" not in line


def test_more_rows_are_no_news_and_another_loop_is(caplog: pytest.LogCaptureFixture) -> None:
    for log in (loop(8), loop(6), other_loop(), loop(8)):
        enforcement.enforce_nplusone(report_of(log), "log")
    assert ["\n" in message for message in caplog.messages] == [True, False, True, True]


def test_a_budget_that_is_exceeded_is_told_once_and_again_where_another_is(
    caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.QUERYBUDGET = {"NPLUSONE": "off"}
    tight, duplicates = Budget(1), Budget(1, duplicates=0)
    log = loop(2)
    with capture_queries() as same:
        for _ in range(2):
            list(Industry.objects.all())
    for each, budget in ((log, tight), (log, tight), (same, duplicates), (same, duplicates)):
        enforcement.enforce(report_of(each, budget=budget), "log")
    assert ["\n" in message for message in caplog.messages] == [True, False, True, False]


@pytest.mark.urls("tests.budget_urls")
def test_the_middleware_tells_once_for_each_view(
    client: Client, caplog: pytest.LogCaptureFixture, settings: Any
) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"*": 1}, "ON_EXCEED": "log"}
    with caplog.at_level(logging.WARNING, "django_querybudget"):
        for path in ("/plain", "/plain", "/jobs/list", "/plain"):
            client.get(path, {"queries": 3})
    assert ["\n" in message for message in caplog.messages] == [True, False, True, False]


def test_both_memories_are_bounded() -> None:
    for number in range(repeats.REMEMBERED + 50):
        report = report_of(loop(3), f"GET view-{number}")
        assert repeats.is_news(report)
    assert len(repeats._analysed) == len(repeats._told) == repeats.REMEMBERED
    assert sum(map(sys.getsizeof, repeats._analysed.values())) < 1_000_000
    assert conf.NPLUSONE_THRESHOLD == 3
