"""manage.py check: names that match no view, budgets that are none, decorators that never run."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.checks import CheckMessage
from django.db.models.signals import post_save
from django.dispatch import receiver
from django.http import HttpRequest
from django.test import override_settings
from django.urls import path
from ninja import NinjaAPI, Router

from django_querybudget import query_budget
from django_querybudget.budgets.checks import check_budgets, check_decorators


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


api = NinjaAPI(urls_namespace="dead")
router = Router()


@query_budget(1)
@api.get("/above")
def above(request: HttpRequest) -> int:
    return 1


@api.get("/below")
@query_budget(1)
def below(request: HttpRequest) -> int:
    return 1


@query_budget(1)
@router.post("/above")
async def async_above(request: HttpRequest) -> int:
    return 1


def shared(request: HttpRequest) -> int:
    return 1


api.get("/shared")(shared)
budgeted = query_budget(1)(shared)
api.get("/budgeted")(budgeted)
api.add_router("/router", router)

urlpatterns = [path("api/", api.urls)]


class TestDecorators:
    """E010."""

    @pytest.fixture(autouse=True)
    def these_urls(self) -> Iterator[None]:
        with override_settings(ROOT_URLCONF=__name__):
            yield

    @pytest.mark.parametrize("name", ["above", "async_above"])
    def test_above_a_ninja_routers_decorator_is_an_error(self, name: str) -> None:
        (message,) = of(check_decorators(), f"{__name__}.{name}")
        assert message.id == "querybudget.E010"
        assert f"{__name__}.{name} ({__file__}:" in message.msg
        assert "never runs" in message.msg
        assert message.hint is not None
        assert (
            f"below the router's @….{'post' if 'async' in name else 'get'}() of /api/"
            in message.hint
        )

    def test_below_it_is_fine(self) -> None:
        assert of(check_decorators(), f"{__name__}.below") == []

    def test_a_function_that_is_registered_with_and_without_is_fine(self) -> None:
        assert of(check_decorators(), f"{__name__}.shared") == []

    def test_above_receiver_is_an_error(self) -> None:
        def register() -> Any:
            @query_budget(1)
            @receiver(post_save)  # noqa: DJ013 - the mistake
            def on_save(**kwargs: Any) -> None: ...

            return on_save

        on_save = register()
        try:
            (message,) = of(check_decorators(), "on_save")
            assert "stands above @receiver(post_save)" in message.msg
        finally:
            post_save.disconnect(on_save.__wrapped__)
        del on_save
        gc.collect()

    def test_a_plain_function_is_fine(self, settings: Any) -> None:
        function = query_budget(1)(lambda: 1)
        assert of(check_decorators(), function.__qualname__) == []
