"""What a failure begins with, if its budget says so; and the way to a query, if it is asked for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from django.db import connections
from django.http import HttpRequest, HttpResponse
from django.test import Client, SimpleTestCase
from django.urls import path

from django_querybudget import Budget, QueryBudgetExceeded, capture_queries, query_budget
from django_querybudget.budgets import by_view
from django_querybudget.reports.report import QueryReport
from django_querybudget.testing import QueryBudgetTestMixin, assert_max_queries
from jobs.models import Industry

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

WHY = "The start page is on every screen: ask the platform team."


def view(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Industry.objects.count()))


FORGED = "forged\r\nCRITICAL all is lost\x1b[2J"
urlpatterns = [path("view", view), path("forged", view, name=FORGED)]


def first_line(error: pytest.ExceptionInfo[Any]) -> str:
    return str(error.value).splitlines()[0]


def test_a_decorators_failure_begins_with_its_message() -> None:
    @query_budget(0, message=WHY)
    def look() -> None:
        Industry.objects.count()

    with pytest.raises(QueryBudgetExceeded) as error:
        look()
    assert first_line(error) == WHY
    assert "1 query executed, budget is 0" in str(error.value)


def test_a_blocks_too() -> None:
    with pytest.raises(QueryBudgetExceeded) as error, query_budget(0, message=WHY):
        Industry.objects.count()
    assert first_line(error) == WHY


def test_a_configured_budgets_too(settings: Any, client: Client) -> None:
    settings.QUERYBUDGET = {
        **settings.QUERYBUDGET,
        "BUDGETS": {"/view": {"max_queries": 0, "message": WHY}},
    }
    with pytest.raises(QueryBudgetExceeded) as error:
        client.get("/view")
    assert first_line(error) == WHY


def test_an_assertions_too() -> None:
    class Case(QueryBudgetTestMixin, SimpleTestCase):
        databases = "__all__"

        def runTest(self) -> None:  # noqa: N802 - as unittest has it
            with self.assertMaxQueries(0, msg=WHY):
                Industry.objects.count()

    with pytest.raises(QueryBudgetExceeded) as error:
        Case().runTest()
    assert first_line(error) == WHY
    with assert_max_queries(1, msg=None):
        Industry.objects.count()


def test_a_functions_own_msg_is_its_own() -> None:
    def say(msg: str) -> str:
        return msg

    assert assert_max_queries(0, say, msg="hello") == "hello"


def test_what_is_kept_says_nothing() -> None:
    with query_budget(1, message=WHY) as log:
        Industry.objects.count()
    assert WHY not in str(QueryReport(name="it", log=log, budget=Budget(1, message=WHY)))


def test_a_message_is_a_text() -> None:
    with pytest.raises(TypeError, match="message is 3; it accepts a text"):
        query_budget(1, message=3)  # type: ignore[arg-type]


def step(depth: int) -> int:
    return step(depth - 1) if depth else Industry.objects.count()


async def step_async(depth: int) -> int:
    return await step_async(depth - 1) if depth else await Industry.objects.acount()


def ways(log: Any) -> list[str]:
    (query,) = log
    return [each.function for each in query.way]


HERE = "test_the_whole_way_is_told_on_request"


@pytest.mark.parametrize(("verbosity", "steps"), [(0, 8), (2, 13)])
def test_the_whole_way_is_told_on_request(settings: Any, verbosity: int, steps: int) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "VERBOSITY": verbosity}
    with capture_queries() as log:
        step(12)
    way = ways(log)
    assert way[-steps:] == ["step"] * steps
    assert (way[-steps - 1 :][:1] == [HERE]) is (verbosity == 2)
    text = QueryReport(name="it", log=log, budget=Budget(0)).render()
    assert ("by way of, the outermost first:" in text) is (verbosity == 2)
    assert text.count(" in step\n") == (steps if verbosity == 2 else 1)


@pytest.mark.django_db(transaction=True)
def test_the_whole_way_leads_through_awaits(settings: Any) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "VERBOSITY": 2}

    async def main() -> Any:
        with capture_queries() as log:
            await step_async(12)
        await asyncio.to_thread(connections.close_all)
        return log

    way = ways(asyncio.run(main()))
    assert way[-13:] == ["step_async"] * 13
    assert way[-14].endswith("main")


def test_the_whole_way_ends_where_the_request_is_answered(settings: Any, client: Client) -> None:
    settings.QUERYBUDGET = {**settings.QUERYBUDGET, "VERBOSITY": 2}
    with capture_queries() as log:
        client.get("/view")
    assert ways(log) == ["view"]


def test_a_views_name_splits_no_line_of_a_log(client: Client, caplog: Any) -> None:
    with caplog.at_level("DEBUG", "django_querybudget"):
        client.get("/forged")
    (record,) = [each for each in caplog.records if "forged" in each.getMessage()]
    assert record.getMessage().splitlines() == [record.getMessage()]
    assert record.getMessage().startswith("GET forged��CRITICAL all is lost�[2J: 1 query, ")
    assert record.report.view_name == FORGED  # As the URLconf has it.


def test_a_path_splits_no_line_of_a_log(rf: Any, caplog: Any, monkeypatch: Any) -> None:
    def broken(request: HttpRequest) -> None:
        raise LookupError

    monkeypatch.setattr(by_view, "_view_budget", broken)
    assert by_view.view_budget(rf.get("/a%0d%0aCRITICAL")) is None
    (record,) = caplog.records
    assert "\n" not in record.getMessage()
    assert "\r" not in record.getMessage()
