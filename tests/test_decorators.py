"""query_budget: on every kind of callable, in blocks, with and without the middleware."""

from __future__ import annotations

import asyncio
import logging
import pickle
from collections.abc import AsyncIterator, Iterator
from functools import partial
from typing import Any

import pytest
from asgiref.sync import iscoroutinefunction
from django.conf import LazySettings
from django.db import transaction
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.test import AsyncClient, Client, RequestFactory, override_settings
from django.utils.decorators import method_decorator
from django.views import View
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from django_querybudget import QueryBudgetExceeded, query_budget
from django_querybudget.exceptions import QueryBudgetWarning
from jobs.models import Industry
from tests import budget_urls
from tests.budget_urls import Lazy, Whole, run

pytestmark = [pytest.mark.django_db, pytest.mark.urls("tests.budget_urls")]

MIDDLEWARE = ["django_querybudget.middleware.QueryBudgetMiddleware"]
VIEWS = [
    "/function",
    "/decorated_above",
    "/coroutine",
    "/whole",
    "/handler",
    "/dispatch",
    "/async_handler",
    "/template",
    "/rest/things/",
    "/rest/things/below/",
    "/rest/things/above/",
]


@pytest.fixture(params=[MIDDLEWARE, []], ids=["middleware", "no middleware"], autouse=True)
def with_and_without_middleware(request: pytest.FixtureRequest, settings: Any) -> bool:
    settings.MIDDLEWARE = request.param
    return bool(request.param)


@pytest.mark.parametrize("path", VIEWS)
def test_a_view_within_its_budget_is_left_alone(client: Client, path: str) -> None:
    assert client.get(path, {"queries": 2}).status_code == 200


@pytest.mark.parametrize("path", VIEWS)
def test_a_view_above_its_budget_raises_in_tests(client: Client, path: str) -> None:
    with pytest.raises(QueryBudgetExceeded, match="3 queries executed, budget is 2") as raised:
        client.get(path, {"queries": 3})
    report = raised.value.report
    assert report is not None
    assert report.log.count == 3


@query_budget(2)
class OfRest(APIView):
    authentication_classes = ()
    permission_classes = ()

    def get(self, request: Request) -> Response:
        run(3)
        return Response({})


@method_decorator(query_budget(2), name="dispatch")
class ByName(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        run(3)
        return HttpResponse()


@pytest.mark.parametrize(
    ("view", "name"),
    [
        (Whole, "tests.budget_urls.Whole"),
        (ByName, f"{__name__}.ByName.dispatch"),
        (budget_urls.Handler, "tests.budget_urls.Handler.get"),
        (OfRest, f"{__name__}.OfRest"),
    ],
)
def test_a_report_names_the_projects_class(view: Any, name: str) -> None:
    """Not the framework's, whose dispatch it is."""
    request = RequestFactory().get("/", {"queries": 3})

    def answer() -> None:
        response = view.as_view()(request)
        response.render()

    with pytest.raises(QueryBudgetExceeded) as raised:
        answer()
    assert str(raised.value).startswith(f"{name}: 3 queries executed, budget is 2")


async def call_async(path: str, queries: int) -> int:
    response = await AsyncClient().get(path, {"queries": queries})
    if response.streaming:
        return len([chunk async for chunk in response])  # type: ignore[attr-defined]
    return int(response.status_code)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("path", [*VIEWS, "/async_stream"])
def test_the_same_under_asgi(path: str) -> None:
    assert asyncio.run(call_async(path, 2)) in (200, 2)
    with pytest.raises(QueryBudgetExceeded, match="3 queries executed, budget is 2"):
        asyncio.run(call_async(path, 3))


def test_a_stream_counts_until_its_end(client: Client) -> None:
    within = client.get("/stream", {"queries": 2})
    assert within.getvalue() == b"False;False;"
    above = client.get("/stream", {"queries": 3})
    chunks = iter(above.streaming_content)  # type: ignore[attr-defined]
    assert [next(chunks) for _ in range(3)] == [b"False;"] * 3
    with pytest.raises(QueryBudgetExceeded, match="3 queries executed"):
        next(chunks)


def test_a_stream_that_is_closed_early_does_not_raise(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    response: Any = client.get("/stream", {"queries": 5})
    chunks = iter(response.streaming_content)
    for _ in range(3):
        next(chunks)
    response.close()
    assert "3 queries executed, budget is 2" in caplog.text


@override_settings(DEBUG=True)
def test_outside_of_tests_a_stream_is_not_broken(
    client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("django_querybudget.middleware.in_tests", lambda: False)
    monkeypatch.setattr("django_querybudget.decorators.in_tests", lambda: False)
    assert client.get("/stream", {"queries": 3}).getvalue() == b"False;" * 3
    assert "3 queries executed, budget is 2" in caplog.text


def test_another_exception_is_not_replaced(
    client: Client, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(LookupError, match="the view broke"):
        client.get("/crash", {"queries": 3})
    assert "3 queries executed, budget is 2" in caplog.text


def test_a_function_that_takes_the_request_is_no_view(
    client: Client,
) -> None:
    assert client.get("/uses_helper", {"queries": 1}).status_code == 200
    with pytest.raises(QueryBudgetExceeded, match=r"budget_urls\.helper: 2 queries executed"):
        client.get("/uses_helper", {"queries": 2})


def test_a_handlers_budget_is_not_its_views(client: Client) -> None:
    assert client.post("/handler").status_code == 200


def test_a_ninja_operation_counts_itself(client: Client, with_and_without_middleware: bool) -> None:
    """Only the middleware sees what ninja queries while it serializes."""
    assert client.get("/ninja/operation", {"queries": 2}).json() == {"name": "lazy"}
    if with_and_without_middleware:
        with pytest.raises(QueryBudgetExceeded, match="3 queries executed, budget is 2"):
            client.get("/ninja/operation", {"queries": 3})
    else:
        assert client.get("/ninja/operation", {"queries": 3}).status_code == 200
    assert client.get("/ninja/other", {"queries": 9}).status_code == 200


def test_attributes_that_other_decorators_set_survive() -> None:
    view: Any = budget_urls.decorated_above
    assert view.csrf_exempt is True
    assert view.login_required is False
    assert view.__name__ == "decorated_above"
    for action in (budget_urls.Things.budget_above, budget_urls.Things.budget_below):
        assert set(action.mapping) == {"get"}  # type: ignore[attr-defined]
    assert iscoroutinefunction(budget_urls.coroutine)
    assert iscoroutinefunction(budget_urls.AsyncHandler.get)


def test_a_subclass_replaces_the_budget_of_its_base() -> None:
    larger = query_budget(4)(type("Larger", (Whole,), {}))
    view = larger.as_view()
    view(RequestFactory().get("/", {"queries": 4}))
    with pytest.raises(QueryBudgetExceeded, match="5 queries executed, budget is 4"):
        view(RequestFactory().get("/", {"queries": 5}))
    with pytest.raises(QueryBudgetExceeded, match="3 queries executed, budget is 2"):
        Whole.as_view()(RequestFactory().get("/", {"queries": 3}))


def test_rendering_leaves_nothing_on_the_response() -> None:
    @query_budget(2)
    def view(request: HttpRequest) -> TemplateResponse:
        return TemplateResponse(request, "lazy.html", {"lazy": Lazy(2)})

    response = view(RequestFactory().get("/"))
    pickled: list[bytes] = []
    response.add_post_render_callback(lambda done: pickled.append(pickle.dumps(done)))
    assert response.render() is response
    assert pickle.loads(pickled[0]).content == b"lazy\n"  # noqa: S301 - pickled above
    assert "render" not in vars(response)


def test_functions_methods_and_generators() -> None:
    class Service:
        @query_budget(1)
        def method(self, queries: int) -> str:
            run(queries)
            return "done"

        @query_budget(1)
        @staticmethod
        def static(queries: int) -> None:
            run(queries)

        @query_budget(1)
        @classmethod
        def of_class(cls, queries: int) -> None:
            run(queries)

    @query_budget(1)
    def generator(queries: int) -> Iterator[int]:
        for number in range(queries):
            run(1)
            yield number

    assert Service().method(1) == "done"
    for call in (Service().method, Service.static, Service.of_class):
        call(1)
        with pytest.raises(QueryBudgetExceeded, match="2 queries executed, budget is 1"):
            call(2)
    assert list(generator(1)) == [0]
    with pytest.raises(QueryBudgetExceeded):
        list(generator(2))


def test_what_a_generators_consumer_queries_is_not_its_own() -> None:
    @query_budget(1)
    def generator() -> Iterator[int]:
        run(1)
        yield 1
        yield 2

    for _ in generator():
        run(5)


@pytest.mark.django_db(transaction=True)
def test_coroutines_and_async_generators() -> None:
    @query_budget(1)
    async def coroutine(queries: int) -> None:
        for number in range(queries):
            await Industry.objects.filter(pk=number).aexists()

    @query_budget(1)
    async def generator(queries: int) -> AsyncIterator[int]:
        for number in range(queries):
            await Industry.objects.filter(pk=number).aexists()
            yield number

    async def consume(queries: int) -> None:
        async for _ in generator(queries):
            pass

    for function in (coroutine, consume):
        asyncio.run(function(1))
        with pytest.raises(QueryBudgetExceeded, match="2 queries executed, budget is 1"):
            asyncio.run(function(2))


def test_as_a_block_it_yields_the_log_and_names_its_line() -> None:
    with query_budget(2) as log:
        run(2)
    assert log.count == 2
    place = r"the block at tests.test_decorators\.py:\d+: 3 queries"
    with pytest.raises(QueryBudgetExceeded, match=place), query_budget(2):
        run(3)
    with pytest.raises(ZeroDivisionError), query_budget(0):
        Industry.objects.filter(pk=1 / Industry.objects.count())


def test_the_check_comes_after_the_transaction_inside() -> None:
    @query_budget(0)
    def write() -> None:
        with transaction.atomic():
            Industry.objects.create(name="kept")

    with pytest.raises(QueryBudgetExceeded):
        write()
    assert Industry.objects.filter(name="kept").exists()


def test_on_exceed(caplog: pytest.LogCaptureFixture) -> None:
    query_budget(0, on_exceed="log")(run)(1)
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("django_querybudget", logging.WARNING)
    assert record.report.log.count == 1  # type: ignore[attr-defined]
    with pytest.warns(QueryBudgetWarning, match="1 query executed, budget is 0"):
        query_budget(0, on_exceed="warn")(run)(1)
    with override_settings(QUERYBUDGET={"ON_EXCEED": "log"}):
        query_budget(0)(run)(1)
        with pytest.raises(QueryBudgetExceeded):
            query_budget(0, on_exceed="raise")(run)(1)


@pytest.mark.parametrize(
    ("decorate", "error", "words"),
    [
        (lambda: query_budget(-1), ValueError, "max_queries is -1"),
        (lambda: query_budget(1.5), TypeError, "max_queries is 1.5"),  # type: ignore[arg-type]
        (lambda: query_budget(run), TypeError, "write @query_budget"),  # type: ignore[arg-type]
        (query_budget, TypeError, "at least one of"),
        (lambda: query_budget(1, on_exceed="panic"), ValueError, "on_exceed is 'panic'"),
        (
            lambda: query_budget(1, using="replica"),
            ValueError,
            "'replica' is not in DATABASES.*: def",
        ),
        (lambda: query_budget(1, using=[]), ValueError, "names no database"),
        (lambda: query_budget(1, using=3), TypeError, "got 3"),  # type: ignore[arg-type]
        (lambda: query_budget(1)(3), TypeError, "not 3"),
        (lambda: query_budget(1)(dict), TypeError, "is no class-based view"),
        (
            lambda: query_budget(1)(type("Task", (), {"enqueue": 1, "__call__": run})()),
            TypeError,
            "below the task's decorator",
        ),
    ],
)
def test_what_makes_no_sense_is_refused(decorate: Any, error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        decorate()


def test_an_alias_that_could_not_be_checked_before_fails_the_call(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Settings may import the module: what DATABASES has is not known then."""
    with monkeypatch.context() as patch:
        patch.setattr("django_querybudget.decorators.settings", LazySettings())
        early = query_budget(0, using="replica")
    monkeypatch.setattr(Whole, "dispatch", early(View.dispatch))
    with pytest.raises(ValueError, match="'replica' is not in DATABASES"):
        client.get("/whole", {"queries": 3})


def test_an_exception_while_rendering_comes_first(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Lazy):
        def __str__(self) -> str:
            super().__str__()
            raise LookupError("the template broke")

    @query_budget(2)
    def view(request: HttpRequest) -> TemplateResponse:
        return TemplateResponse(request, "lazy.html", {"lazy": Broken(3)})

    response = view(RequestFactory().get("/"))
    with pytest.raises(LookupError, match="the template broke"):
        response.render()
    assert "3 queries executed, budget is 2" in caplog.text


def test_a_partial_can_be_decorated() -> None:
    with pytest.raises(QueryBudgetExceeded, match="2 queries executed, budget is 1"):
        query_budget(1)(partial(run, 2))()


@pytest.mark.django_db(transaction=True)
def test_tasks_may_share_a_block() -> None:
    budget = query_budget(1)

    async def block(queries: int) -> int:
        with budget as log:
            for number in range(queries):
                await Industry.objects.filter(pk=number).aexists()
        return log.count

    async def both() -> list[Any]:
        return await asyncio.gather(block(2), block(1), return_exceptions=True)

    above, within = asyncio.run(both())
    assert isinstance(above, QueryBudgetExceeded)
    assert within == 1
