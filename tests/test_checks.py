"""What manage.py check says of wrong settings."""

from __future__ import annotations

from typing import Any

import pytest
from django.core import checks
from django.core.management import call_command
from django.core.management.base import SystemCheckError
from django.test import override_settings

from django_querybudget.middleware import QueryBudgetMiddleware

OURS = "django_querybudget.middleware.QueryBudgetMiddleware"
SECURITY = "django.middleware.security.SecurityMiddleware"
SESSIONS = "django.contrib.sessions.middleware.SessionMiddleware"


def run(**settings: Any) -> list[checks.CheckMessage]:
    with override_settings(**settings):
        return checks.run_checks(tags=["querybudget"])


def test_the_testproject_is_clean() -> None:
    assert checks.run_checks(tags=["querybudget"]) == []


def test_a_bad_setting_is_an_error_with_an_id_and_a_hint() -> None:
    [message] = run(QUERYBUDGET={"SAMPLE_RATE": 2})
    assert isinstance(message, checks.Error)
    assert message.id == "querybudget.E001"
    assert message.msg == 'QUERYBUDGET["SAMPLE_RATE"] is 2.'
    assert message.hint == (
        "It accepts a number from 0 (no request is measured) to 1 (every request is). "
        "See docs/reference/checks.rst#querybudget-e001"
    )


def test_manage_py_check_fails_on_it() -> None:
    with (
        override_settings(QUERYBUDGET={"TYPO": 1}),
        pytest.raises(SystemCheckError, match=r"querybudget.E001\) QUERYBUDGET\[\"TYPO\"\]"),
    ):
        call_command("check", tags=["querybudget"])


def test_it_can_be_silenced() -> None:
    with override_settings(QUERYBUDGET={"TYPO": 1}, SILENCED_SYSTEM_CHECKS=["querybudget.E001"]):
        call_command("check", tags=["querybudget"])


def test_middleware_above_ours_that_may_query_is_a_warning() -> None:
    [message] = run(MIDDLEWARE=[SECURITY, SESSIONS, OURS])
    assert (message.id, message.level) == ("querybudget.W001", checks.WARNING)
    assert SESSIONS in message.msg
    assert SECURITY not in message.msg


class OfTheProject(QueryBudgetMiddleware):
    """A subclass is as good."""


SUBCLASS = f"{__name__}.{OfTheProject.__name__}"


def test_middleware_above_a_subclass_of_ours_is_a_warning() -> None:
    [message] = run(MIDDLEWARE=[SESSIONS, SUBCLASS])
    assert message.id == "querybudget.W001"
    assert SUBCLASS in message.msg


@pytest.mark.parametrize(
    ("written", "named"),
    [
        ({"BUDGETS": {"*": 3}}, "BUDGETS"),
        ({"NPLUSONE": "raise"}, "NPLUSONE"),
        ({"HEADERS": True}, "HEADERS"),
        ({"IGNORE_PATHS": ["^/health"]}, "IGNORE_PATHS"),
        ({"SAMPLE_RATE": 0.1}, "SAMPLE_RATE"),
        ({"PRODUCTION": {}}, "PRODUCTION"),
    ],
)
@pytest.mark.parametrize("middleware", [[], [SESSIONS], ["no.such.middleware"]])
def test_settings_without_the_middleware_that_heeds_them_are_a_warning(
    written: dict[str, Any], named: str, middleware: list[str]
) -> None:
    [message] = run(MIDDLEWARE=middleware, QUERYBUDGET=written)
    assert (message.id, message.level) == ("querybudget.W002", checks.WARNING)
    assert message.msg == (
        f'Without {OURS} in MIDDLEWARE this has no effect on requests: QUERYBUDGET["{named}"].'
    )
    assert message.hint is not None
    assert f"Put {OURS!r} first" in message.hint
    assert "Tasks, commands and messages are measured without it" in message.hint


def test_all_settings_that_have_no_effect_are_named_together() -> None:
    [message] = run(MIDDLEWARE=[], QUERYBUDGET={"HEADERS": True, "BUDGETS": {"*": 3}})
    assert message.msg.endswith('QUERYBUDGET["BUDGETS"], QUERYBUDGET["HEADERS"].')


@pytest.mark.parametrize(
    "written",
    [
        {},
        {"BUDGETS": {}, "HEADERS": False, "NPLUSONE": "off", "SAMPLE_RATE": 1},
        {"BUDGETS": {"*": 3}, "ENABLED": False},
        {"BUDGETS": {"task shop.send": 3, "command clearsessions": 2}},
        {"ON_EXCEED": "log", "VERBOSITY": 1, "NPLUSONE_THRESHOLD": 5},
    ],
)
def test_settings_that_need_no_middleware_are_none(written: dict[str, Any]) -> None:
    assert run(MIDDLEWARE=[], QUERYBUDGET=written) == []


@pytest.mark.parametrize("middleware", [OURS, SUBCLASS])
def test_settings_with_the_middleware_are_none(middleware: str) -> None:
    assert run(MIDDLEWARE=[middleware], QUERYBUDGET={"BUDGETS": {"*": 3}}) == []


@pytest.mark.parametrize("middleware", [[], [SESSIONS], [OURS, SESSIONS], [SECURITY, OURS]])
def test_a_good_order_is_none(middleware: list[str]) -> None:
    assert run(MIDDLEWARE=middleware) == []
