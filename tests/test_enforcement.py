"""Raise, warn or log: by argument, by setting, by place."""

from __future__ import annotations

import logging
import sys
import warnings
from typing import Any

import pytest
from django.core import mail
from django.test import override_settings

from django_querybudget import Budget, QueryBudgetExceeded
from django_querybudget.exceptions import QueryBudgetWarning
from django_querybudget.recording.records import QueryLog, RawRecord
from django_querybudget.reports import QueryReport
from django_querybudget.reports.enforcement import enforce, in_tests, policy


def report_of(queries: int) -> QueryReport:
    log = QueryLog()
    for _ in range(queries):
        log.append(RawRecord("SELECT 1", None, False, "default", "sqlite", 0.0, 0.0))
    return QueryReport(name="scope", log=log, budget=Budget(1))


def test_tests_are_known_by_djangos_test_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert in_tests()
    monkeypatch.delattr(mail, "outbox")
    assert not in_tests()
    monkeypatch.delitem(sys.modules, "django.core.mail")
    assert not in_tests()


@pytest.mark.parametrize(
    ("argument", "setting", "debug", "tests", "expected"),
    [
        (None, None, False, False, "log"),
        (None, None, True, False, "raise"),
        (None, None, False, True, "raise"),
        (None, "warn", True, True, "warn"),
        ("log", "warn", True, True, "log"),
    ],
)
def test_the_argument_wins_then_the_setting_then_the_place(
    monkeypatch: pytest.MonkeyPatch,
    argument: str | None,
    setting: str | None,
    debug: bool,
    tests: bool,
    expected: str,
) -> None:
    monkeypatch.setattr("django_querybudget.reports.enforcement.in_tests", lambda: tests)
    with override_settings(DEBUG=debug, QUERYBUDGET={"ON_EXCEED": setting}):
        assert policy(argument) == expected


def test_within_the_budget_nothing_happens(caplog: pytest.LogCaptureFixture) -> None:
    enforce(report_of(1), "raise")
    assert not caplog.records


def test_raise_carries_the_report_and_its_text() -> None:
    report = report_of(2)
    with pytest.raises(QueryBudgetExceeded) as raised:
        enforce(report, "raise")
    assert raised.value.report is report
    assert str(raised.value) == str(report)


@pytest.mark.parametrize("on_exceed", ["raise", "warn", "log"])
def test_in_flight_it_is_logged_whatever_was_asked(
    caplog: pytest.LogCaptureFixture, on_exceed: str
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        enforce(report_of(2), on_exceed, in_flight=True)
    (record,) = caplog.records
    logged: Any = record
    assert record.levelno == logging.WARNING
    assert logged.report.log.count == 2


def test_warn_and_what_is_logged_already(caplog: pytest.LogCaptureFixture) -> None:
    with pytest.warns(QueryBudgetWarning, match="2 queries executed"):
        enforce(report_of(2), "warn")
    enforce(report_of(2), "log", logged=True)
    assert not caplog.records
