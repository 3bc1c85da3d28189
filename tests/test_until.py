"""Exceptions that expire: raised budgets, entries of the allowlist, comments."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from django.core.checks import run_checks
from django.test import override_settings

from django_querybudget import Budget, QueryBudgetExceeded, capture_queries, query_budget
from django_querybudget.conf import until
from django_querybudget.conf.until import Until, today, until_in
from django_querybudget.nplusone import find_nplusone
from django_querybudget.nplusone.rendering import render_findings
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports.report import QueryReport
from django_querybudget.testing import assert_max_queries
from jobs.models import Industry, Subcategory

ISSUE = "https://tracker.example/17"
DAY = "2027-03-01"
Clock = Callable[[str], None]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """Set what time it is, in UTC."""

    def set_to(text: str) -> None:
        now = datetime.fromisoformat(text).replace(tzinfo=UTC)
        monkeypatch.setattr(until, "clock", now.astimezone)

    set_to("2027-03-01T12:00")
    return set_to


def log_of(queries: int = 1) -> QueryLog:
    log = QueryLog()
    for number in range(queries):
        log.append(RawRecord(f"SELECT {number}", None, False, "default", "sqlite", 0.0, 0.001))
    return log


# The day.


@pytest.mark.parametrize(
    ("zone", "last", "first"),
    [
        ("UTC", "2027-03-01T23:59", "2027-03-02T00:00"),
        ("Asia/Tokyo", "2027-03-01T14:59", "2027-03-01T15:00"),
        ("America/Los_Angeles", "2027-03-02T07:59", "2027-03-02T08:00"),
    ],
)
def test_it_holds_to_the_end_of_the_day_in_the_projects_time_zone(
    clock: Clock, zone: str, last: str, first: str
) -> None:
    with override_settings(TIME_ZONE=zone, USE_TZ=zone != "UTC"):
        clock(last)
        assert today() == date(2027, 3, 1)
        assert Until.of(DAY).days_past == 0
        clock(first)
        assert Until.of(DAY).days_past == 1
        assert str(Until.of(DAY, ISSUE)) == f"expired on 2027-03-01 (1 day ago): {ISSUE}"


def test_what_is_a_day(clock: Clock) -> None:
    assert Until.of(date(2027, 3, 1), ISSUE) == Until.of(DAY, ISSUE)
    assert str(Until.of(DAY)) == "holds until 2027-03-01"
    for wrong in (
        "2027-02-29",
        "2027-3-1",
        "20270301",
        "2027-W09-1",
        "tomorrow",
        "",
        "\u0662027-03-01",
    ):
        with pytest.raises(ValueError, match="accepts a day of the calendar"):
            Until.of(wrong)
    for wrong in (20270301, None, datetime(2027, 3, 1, tzinfo=UTC)):
        with pytest.raises(TypeError, match="accepts a day"):
            Until.of(wrong)
    assert until_in("three rows") is None
    assert until_in(f"three rows; until = {DAY}, see {ISSUE}, or ask") == Until.of(DAY, ISSUE)


# Budgets.


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"until": "2027-13-01"}, ValueError, "until is '2027-13-01'; it accepts a day"),
        ({"until": 3}, TypeError, "until is 3"),
        ({"until": DAY, "issue": 17}, TypeError, "issue is 17; it accepts a text"),
        ({"issue": ISSUE}, TypeError, "until is missing"),
    ],
)
def test_a_bad_day_of_a_budget_is_an_error_where_it_stands(
    options: Any, error: type[Exception], words: str
) -> None:
    for make in (Budget, query_budget):
        with pytest.raises(error, match=words):
            make(80, **options)
    with override_settings(QUERYBUDGET={"BUDGETS": {"*": {"max_queries": 80, **options}}}):
        (message,) = [each for each in run_checks(tags=["querybudget"]) if each.id[-4:] == "E011"]
        assert words in message.msg


def test_a_raised_budget_fails_from_the_next_day_on_with_the_link(clock: Clock) -> None:
    def run() -> None:
        with assert_max_queries(80, until=DAY, issue=ISSUE):
            """No query at all."""

    run()
    clock("2027-03-14T00:00")
    with pytest.raises(QueryBudgetExceeded) as raised:
        run()
    text = str(raised.value)
    assert f": the budget expired on 2027-03-01 (13 days ago): {ISSUE}" in text
    assert "Next: lower the budget to what it was before it was raised" in text


def test_what_else_it_exceeds_is_told_with_it(clock: Clock) -> None:
    clock("2027-03-02T00:00")
    report = QueryReport(name="GET jobs", log=log_of(9), budget=Budget(8, until=DAY, issue=ISSUE))
    assert report.headline == (
        f"GET jobs: the budget expired on 2027-03-01 (1 day ago): {ISSUE}; "
        "9 queries executed, budget is 8"
    )
    assert "Next: the query asks for the same 9 times" in report.render()


def test_checks_name_what_has_expired(clock: Clock) -> None:
    @query_budget(80, until=DAY, issue=ISSUE)
    def raised() -> None:
        """A view."""

    past = {"until": DAY, "issue": ISSUE}
    settings = {
        "BUDGETS": {
            "*": {"max_queries": 80, **past},
            "a": {"max_queries": 1, "until": "2027-03-09"},
        },
        "NPLUSONE_ALLOW": [
            {"pattern": "jobs.Subcategory.industry", **past},
            {"pattern": "*/legacy/*.py", "until": "2027-03-09"},
        ],
    }
    with override_settings(QUERYBUDGET=settings):

        def expired() -> list[str]:
            return [each.msg for each in run_checks(tags=["querybudget"]) if each.id[-4:] == "W014"]

        assert expired() == []
        clock("2027-03-02T00:00")
        found = sorted(expired())
        assert len(found) == 3
        assert all(f"expired on 2027-03-01 (1 day ago): {ISSUE}." in each for each in found)
        assert found[0].startswith("QUERYBUDGET[\"BUDGETS\"]['*'] expired")
        assert found[1].startswith("QUERYBUDGET[\"NPLUSONE_ALLOW\"], 'jobs.Subcategory.industry',")
        assert "raised" in found[2]


# N+1 queries.


@pytest.fixture
def rows(db: None) -> None:
    for number in range(4):
        industry = Industry.objects.create(name=f"i{number}")
        Subcategory.objects.create(name=f"s{number}", industry=industry)


def loop() -> QueryLog:
    with capture_queries() as log:
        for each in Subcategory.objects.all():
            each.industry.name  # noqa: B018 - asking is what queries
    return log


def loop_ignored() -> QueryLog:
    with capture_queries() as log:
        for each in Subcategory.objects.all():
            # querybudget: ignore[four rows, until=2027-03-01, https://tracker.example/17]
            each.industry.name  # noqa: B018 - asking is what queries
    return log


def loop_ignored_wrongly() -> QueryLog:
    with capture_queries() as log:
        for each in Subcategory.objects.all():
            each.industry.name  # noqa: B018 # querybudget: ignore[four rows, until=2027-02-30]
    return log


def told(log: QueryLog, **options: Any) -> str:
    return "\n".join(render_findings(find_nplusone(log, **options)))


def test_an_entry_of_the_allowlist_expires(clock: Clock, rows: None) -> None:
    entry = {"pattern": "Subcategory.industry", "until": DAY, "issue": ISSUE}
    expired = f"'Subcategory.industry', expired on 2027-03-01 (1 day ago): {ISSUE}"
    log = loop()
    with override_settings(QUERYBUDGET={"NPLUSONE_ALLOW": [entry]}):
        assert told(log) == ""
        report = QueryReport(name="GET jobs", log=log)
        assert report.findings == ()
        clock("2027-03-02T00:00")
        assert expired in told(log)
        # The same log on the next day, in a process that runs over midnight.
        assert expired in QueryReport(name="GET jobs", log=log).nplusone_text
    with override_settings(QUERYBUDGET={"NPLUSONE_ALLOW": [entry, "jobs.*"]}):
        assert told(log) == ""
    assert told(log, allow=[{**entry, "until": "2027-03-02"}]) == ""
    assert told(log, allow=[entry]) != ""


def test_a_comment_expires(clock: Clock, rows: None) -> None:
    log = loop_ignored()
    assert told(log) == ""
    clock("2027-03-03T00:00")
    line = loop_ignored.__code__.co_firstlineno + 3
    assert f"The comment at line {line} expired on 2027-03-01 (2 days ago): {ISSUE}" in told(log)


def test_a_comment_with_a_day_that_is_none_says_so(clock: Clock, rows: None) -> None:
    line = loop_ignored_wrongly.__code__.co_firstlineno + 3
    assert (
        f"The comment at line {line} has no effect: until is '2027-02-30'; it accepts a day of the "
        'calendar, "2027-03-01".'
    ) in told(loop_ignored_wrongly())


@pytest.mark.parametrize(
    ("entry", "words"),
    [
        ({"pattern": "Job.*", "until": "soon"}, "until is 'soon'"),
        ({"pattern": "Job.*", "till": DAY}, "'till' is unknown; the keys are pattern, until"),
        ({"until": DAY}, "pattern is None"),
        ({"pattern": "Job.*"}, "'Job.*' has no until"),
        (3, "3 is neither a pattern nor a dict"),
    ],
)
def test_a_bad_entry_is_an_error_of_the_settings(entry: object, words: str) -> None:
    with override_settings(QUERYBUDGET={"NPLUSONE_ALLOW": [entry]}):
        (message,) = [each for each in run_checks(tags=["querybudget"]) if each.id[-4:] == "E001"]
        assert words in message.msg
    with pytest.raises((TypeError, ValueError), match=words.replace("*", r"\*")):
        find_nplusone(log_of(), allow=[entry])  # type: ignore[list-item]
