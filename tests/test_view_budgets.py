"""QUERYBUDGET["BUDGETS"]: which budget a view has, and what happens when it is exceeded."""

from __future__ import annotations

import logging
from typing import Any

import pytest
from django.test import Client, RequestFactory
from django.urls import resolve

from django_querybudget import Budget, QueryBudgetExceeded
from django_querybudget.budgets.by_view import parse_budgets, view_budget
from django_querybudget.conf import InvalidSetting
from django_querybudget.routing.names import ViewKey

pytestmark = [pytest.mark.urls("tests.budget_urls")]


def budget_of(path: str, method: str = "GET") -> Budget | None:
    request = RequestFactory().generic(method, path)
    request.resolver_match = resolve(path)
    declared = view_budget(request)
    return declared.budget if declared is not None else None


@pytest.mark.parametrize(
    ("budgets", "path", "method", "expected"),
    [
        ({"jobs:list": 3}, "/jobs/list", "GET", 3),
        ({"jobs:*": 4}, "/jobs/list", "GET", 4),
        ({"*": 5}, "/jobs/list", "GET", 5),
        ({"jobs:list": 3, "jobs:*": 4, "*": 5}, "/jobs/list", "GET", 3),
        ({"*": 5, "jobs:*": 4, "jobs:list": 3}, "/jobs/list", "GET", 3),
        ({"*": 5, "jobs:*": 4}, "/plain", "GET", 5),
        ({"j*": 5, "jobs:*": 4}, "/jobs/list", "GET", 4),
        ({"POST jobs:list": 2, "jobs:list": 3}, "/jobs/list", "POST", 2),
        ({"POST jobs:list": 2, "jobs:list": 3}, "/jobs/list", "GET", 3),
        ({"post jobs:list": 2}, "/jobs/list", "POST", 2),
        ({"POST jobs:*": 2, "jobs:list": 3}, "/jobs/list", "POST", 3),
        ({"GET jobs:list": 2}, "/jobs/list", "HEAD", 2),
        ({"POST jobs:list": 2}, "/jobs/list", "GET", None),
        ({"/nameless/<int:number>/": 6}, "/nameless/1/", "GET", 6),
        ({"/nameless/*": 6}, "/nameless/1/", "GET", 6),
        ({"/jobs/*": 6}, "/jobs/list", "GET", 6),
        ({"regex": 6}, "/regex/a", "GET", 6),
        ({"/^regex/(?P<slug>[a-z]+)$": 6}, "/regex/a", "GET", 6),
        ({"budgeted:other_operation": 7}, "/ninja/other", "GET", 7),
        ({"budgeted:operation": 7}, "/ninja/other", "GET", None),
        ({"jobs:list": None, "*": 5}, "/jobs/list", "GET", None),
        ({"jobs:other": 3}, "/jobs/list", "GET", None),
        ({}, "/jobs/list", "GET", None),
        # Decorators first, on the handler of the method, on the class, on the function.
        ({"*": 9}, "/function", "GET", 2),
        ({"function": 9}, "/function", "GET", 2),
        ({"*": 9}, "/handler", "GET", 2),
        ({"*": 9}, "/handler", "POST", 9),
        ({"*": 9}, "/whole", "GET", 2),
        ({"*": 9}, "/dispatch", "POST", 2),
        ({"*": 9}, "/rest/things/below/", "GET", 2),
        ({"*": 9}, "/ninja/operation", "GET", 2),
    ],
)
def test_the_most_specific_budget_wins(
    settings: Any, budgets: dict[str, Any], path: str, method: str, expected: int | None
) -> None:
    settings.QUERYBUDGET = {"BUDGETS": budgets}
    found = budget_of(path, method)
    assert (found.max_queries if found is not None else None) == expected


def test_keys_are_ordered_by_how_specific_they_are() -> None:
    keys = ["*", "j*", "jobs:*", "POST jobs:*", "a", "jobs:list", "POST jobs:list"]
    assert sorted([*keys[3:], *keys[:3]], key=ViewKey.of) == keys


def test_dimensions_by_configuration(settings: Any) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"*": {"max_queries": 9, "duplicates": 0}}}
    assert budget_of("/plain") == Budget(9, duplicates=0)


@pytest.mark.parametrize(
    "value",
    [
        -1,
        "3",
        {"querys": 1},
        {},
        [3],
        True,
        {"max_queries": 3, "using": "replica"},
        {"max_queries": 3, "using": []},
        Budget(3, using="replica"),
    ],
)
def test_a_bad_budget_is_logged_once_and_left_out(
    settings: Any, caplog: pytest.LogCaptureFixture, value: Any
) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"plain": value, "*": 5}}
    assert budget_of("/plain") == Budget(5)
    assert budget_of("/plain") == Budget(5)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert f"QUERYBUDGET[\"BUDGETS\"]['plain'] is {value!r}" in record.getMessage()


def test_parse_budgets_names_the_key_and_what_is_accepted() -> None:
    with pytest.raises(InvalidSetting, match=r"'jobs:list'.*'querys' is no dimension.* or None"):
        list(parse_budgets({"jobs:list": {"querys": 1}}))


@pytest.mark.django_db
class TestMiddleware:
    """A configured budget, enforced."""

    @pytest.fixture(autouse=True)
    def budgets(self, settings: Any) -> None:
        settings.QUERYBUDGET = {
            "HEADERS": True,
            "BUDGETS": {"plain": {"max_queries": 2, "similar": 2}},
        }

    def test_the_header_tells_it(self, client: Client) -> None:
        response = client.get("/plain", {"queries": 2})
        assert response.headers["X-Query-Budget"] == "2"
        assert client.get("/function").headers["X-Query-Budget"] == "2"
        assert "X-Query-Budget" not in client.get("/nameless/1/").headers

    def test_it_raises_in_tests(self, client: Client) -> None:
        with pytest.raises(QueryBudgetExceeded, match="GET plain: 3 queries executed, budget is 2"):
            client.get("/plain", {"queries": 3})

    def test_it_logs_in_production(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr("django_querybudget.reports.enforcement.in_tests", lambda: False)
        assert client.get("/plain", {"queries": 3}).status_code == 200
        (record,) = (record for record in caplog.records if record.name == "django_querybudget")
        assert "GET plain: 3 queries executed, budget is 2" in record.getMessage()

    def test_a_decorator_says_what_happens(
        self, client: Client, settings: Any, caplog: pytest.LogCaptureFixture
    ) -> None:
        settings.QUERYBUDGET = {"ON_EXCEED": "log", "BUDGETS": {"plain": 2}}
        assert client.get("/plain", {"queries": 3}).status_code == 200
        assert client.get("/function", {"queries": 3}).status_code == 200
        assert caplog.text.count("3 queries executed, budget is 2") == 2

    def test_a_defect_of_ours_is_logged_and_the_visitor_served(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*arguments: Any) -> None:
            raise LookupError("a view of a kind that nobody knew")

        monkeypatch.setattr("django_querybudget.budgets.by_view.handlers", fail)
        assert client.get("/plain", {"queries": 3}).status_code == 200
        assert "could not find the budget of '/plain'" in caplog.text
