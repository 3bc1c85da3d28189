"""manage.py check: names that match no view, budgets that are none, decorators that never run."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.test import override_settings

from django_querybudget.budgets.checks import check_budgets


def of(messages: list[CheckMessage], name: str) -> list[CheckMessage]:
    """The messages about this module's functions of that name."""
    return [each for each in messages if name in str(each.obj)]


class TestBudgets:
    """E011 and W010."""

    @pytest.mark.urls("tests.budget_urls")
    @pytest.mark.parametrize(
        "name",
        ["*", "jobs:list", "jobs:*", "POST jobs:list", "/nameless/<int:number>/", "/jobs/*",
         "budgeted:operation", "thing-budget-below", "/ninja/*"],
    )  # fmt: skip
    def test_a_name_that_matches_is_fine(self, name: str) -> None:
        with override_settings(QUERYBUDGET={"BUDGETS": {name: 3, f"{name} ".strip(): None}}):
            assert check_budgets() == []

    @pytest.mark.urls("tests.budget_urls")
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("jobs:lst", "Did you mean 'jobs:list'"),
            ("job:*", "A key is a view's name"),
            ("/jobs/nothing", "/jobs/list"),
            ("default", 'The budget of every view that has no other is "*".'),
        ],
    )
    def test_a_name_that_matches_no_view_is_a_warning(self, name: str, hint: str) -> None:
        with override_settings(QUERYBUDGET={"BUDGETS": {name: 3}}):
            (message,) = check_budgets()
        assert message.id == "querybudget.W010"
        assert name in message.msg
        assert message.hint is not None
        assert hint in message.hint

    @pytest.mark.urls("tests.budget_urls")
    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("GTE jobs:list", "Did you mean 'GET'? A key"),
            ("post_ jobs:list", ""),
            ("FOO *", "A key is a view's name, or a method, a blank"),
        ],
    )
    def test_a_method_that_is_none_is_a_warning(self, name: str, hint: str) -> None:
        with override_settings(QUERYBUDGET={"BUDGETS": {name: 3}}):
            (message,) = check_budgets()
        assert message.id == "querybudget.W010"
        assert f'QUERYBUDGET["BUDGETS"][{name!r}]' in message.msg
        assert message.hint is not None
        assert hint in message.hint

    def test_of_work_only_a_commands_name_is_known_before_it_runs(self) -> None:
        known = {"task shop.tasks.send": 3, "message chat.*": 1, "command clear*": 2}
        with override_settings(QUERYBUDGET={"BUDGETS": {**known, "command clearsession": 2}}):
            (message,) = check_budgets()
        assert message.id == "querybudget.W010"
        assert "'command clearsession'] matches no command" in message.msg
        assert message.hint == "Did you mean 'clearsessions'?"

    @pytest.mark.urls("tests.budget_urls")
    @pytest.mark.parametrize("method", ["get", "PATCH", "PROPFIND"])
    def test_a_method_that_a_view_may_answer_is_fine(self, method: str) -> None:
        with override_settings(QUERYBUDGET={"BUDGETS": {f"{method} plain": 3}}):
            assert check_budgets() == []

    @pytest.mark.urls("tests.budget_urls")
    def test_a_bad_budget_is_an_error(self) -> None:
        with override_settings(QUERYBUDGET={"BUDGETS": {"plain": {"querys": 1}}}):
            (message,) = check_budgets()
        assert message.id == "querybudget.E011"
        assert "'querys' is no dimension" in message.msg
        assert message.hint is not None
        assert "duration, nplusone and using, or None." in message.hint

    @pytest.mark.urls("tests.budget_urls")
    @pytest.mark.parametrize(
        ("using", "words"),
        [
            ("replica", "using='replica' is not in DATABASES; the aliases are: default"),
            ([], "using=[] names no database"),
        ],
    )
    def test_a_budget_of_a_database_that_is_not_there_is_an_error(
        self, using: Any, words: str
    ) -> None:
        """It would count no query, and never fail."""
        budget = {"max_queries": 3, "using": using}
        with override_settings(QUERYBUDGET={"BUDGETS": {"plain": budget}}):
            (message,) = check_budgets()
        assert message.id == "querybudget.E011"
        assert words in message.msg
