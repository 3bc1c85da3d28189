"""Names and budgets of what Django REST framework and django-ninja answer with."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest
from django.http import HttpRequest
from django.test import AsyncClient, Client
from django.urls import include, path, reverse
from ninja import NinjaAPI, Router
from rest_framework.decorators import action, api_view
from rest_framework.exceptions import NotFound
from rest_framework.generics import ListAPIView
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.serializers import ModelSerializer, SerializerMethodField
from rest_framework.views import APIView
from rest_framework.viewsets import ModelViewSet

from django_querybudget import QueryBudgetExceeded, query_budget
from django_querybudget.budgets.checks import check_budgets
from django_querybudget.reports import QueryReport
from django_querybudget.routing.views import view_name_of
from django_querybudget.signals import queries_measured
from jobs.models import Industry

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]


class Serializer(ModelSerializer[Industry]):
    jobs = SerializerMethodField()

    class Meta:
        model = Industry
        fields = ("id", "name", "jobs")

    def get_jobs(self, industry: Industry) -> int:
        return industry.jobs.count()


class Industries(ModelViewSet[Industry]):
    queryset = Industry.objects.order_by("pk")
    serializer_class = Serializer
    authentication_classes = ()
    permission_classes = ()

    @action(detail=False)
    @query_budget(3)
    def largest(self, request: Request) -> Response:
        return Response(self.get_serializer(self.get_queryset(), many=True).data)

    @largest.mapping.post
    @query_budget(1)
    def make_largest(self, request: Request) -> Response:
        return Response(Industry.objects.count())

    @query_budget(0)
    def destroy(self, request: Request, *args: Any, **kwargs: Any) -> Response:
        raise NotFound


class Lazy(JSONRenderer):
    """Queries while it renders, as the browsable API does for its forms and filters."""

    def render(self, *args: Any, **kwargs: Any) -> Any:
        Industry.objects.count()
        return super().render(*args, **kwargs)


class Listed(ListAPIView[Industry]):
    queryset = Industry.objects.order_by("pk")
    serializer_class = Serializer
    authentication_classes = ()
    permission_classes = ()
    renderer_classes = (Lazy,)


class Plain(APIView):
    authentication_classes = ()
    permission_classes = ()

    @query_budget(1)
    def get(self, request: Request) -> Response:
        return Response([Industry.objects.count() for _ in range(int(request.query_params["n"]))])

    def post(self, request: Request) -> Response:
        return Response(Industry.objects.count())


@query_budget(1)
@api_view(["GET", "POST"])
def above(request: Request) -> Response:
    return Response([Industry.objects.count() for _ in range(int(request.query_params["n"]))])


@api_view(["GET", "POST"])
@query_budget(1)
def below(request: Request) -> Response:
    return Response([Industry.objects.count() for _ in range(int(request.query_params["n"]))])


rest = SimpleRouter()
rest.register("industries", Industries, basename="industry")

api = NinjaAPI(urls_namespace="ninja")
shop = Router()


@shop.get("/industries")
def industries(request: HttpRequest) -> int:
    return Industry.objects.count()


@shop.post("/industries")
@query_budget(2)
def add_industry(request: HttpRequest, name: str) -> int:
    Industry.objects.create(name=name)
    return Industry.objects.count()


@shop.api_operation(["PUT", "PATCH"], "/industries", url_name="rename")
async def rename_industry(request: HttpRequest) -> int:
    return await Industry.objects.acount()


@shop.get("/alone")
async def alone(request: HttpRequest) -> int:
    return await Industry.objects.acount()


api.add_router("/shop", shop)

urlpatterns = [
    path("v1/", include((rest.urls, "v1"))),
    path("listed/", Listed.as_view(), name="listed"),
    path("plain/", Plain.as_view(), name="plain"),
    path("nameless/", Plain.as_view()),
    path("above/", above, name="above"),
    path("below/", below, name="below"),
    path("ninja/", api.urls),
]


@pytest.fixture
def reports() -> Iterator[list[QueryReport]]:
    heard: list[QueryReport] = []

    def listen(report: QueryReport, **_: Any) -> None:
        heard.append(report)

    queries_measured.connect(listen)
    yield heard
    queries_measured.disconnect(listen)


def ask(method: str, address: str) -> Any:
    return Client().generic(method, address, "{}", content_type="application/json")


@pytest.mark.parametrize(
    ("method", "address", "name"),
    [
        ("GET", "/v1/industries/", "v1:industry-list"),
        ("POST", "/v1/industries/", "v1:industry-list"),
        ("GET", "/v1/industries/1/", "v1:industry-detail"),
        ("PATCH", "/v1/industries/1/", "v1:industry-detail"),
        ("DELETE", "/v1/industries/1/", "v1:industry-detail"),
        ("GET", "/v1/industries/largest/", "v1:industry-largest"),
        ("POST", "/v1/industries/largest/", "v1:industry-largest"),
        ("GET", "/listed/", "listed"),
        ("POST", "/plain/", "plain"),
        ("POST", "/nameless/", "/nameless/"),
        ("GET", "/above/?n=1", "above"),
        # Of one path, each has its own name, as reverse() knows it.
        ("GET", "/ninja/shop/industries", "ninja:industries"),
        ("POST", "/ninja/shop/industries?name=a", "ninja:add_industry"),
        ("PATCH", "/ninja/shop/industries", "ninja:rename"),
        ("DELETE", "/ninja/shop/industries", "ninja:industries"),  # of nobody: the URL's
        ("GET", "/ninja/shop/alone", "ninja:alone"),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_names(method: str, address: str, name: str, reports: list[QueryReport]) -> None:
    ask(method, address)
    (report,) = reports
    assert (report.view_name, report.name) == (name, f"{method} {name}")
    if not name.startswith("/") and "detail" not in name:
        assert reverse(name) == address.partition("?")[0]


@pytest.mark.parametrize(
    ("method", "address", "budget"),
    [
        # The decorator of the handler, of the mapped method, of the operation.
        ("GET", "/v1/industries/largest/", 3),
        ("POST", "/v1/industries/largest/", 1),
        ("GET", "/plain/?n=1", 1),
        ("GET", "/above/?n=1", 1),
        ("POST", "/below/?n=1", 1),
        ("POST", "/ninja/shop/industries?name=a", 2),
        # The settings, by action and method.
        ("GET", "/v1/industries/", 9),
        ("POST", "/v1/industries/", 8),
        ("PUT", "/v1/industries/1/", 7),
        ("GET", "/ninja/shop/industries", 6),
        ("PUT", "/ninja/shop/industries", 5),
        ("GET", "/ninja/shop/alone", 4),
    ],
)
@pytest.mark.django_db(transaction=True)
def test_budgets(
    method: str, address: str, budget: int, settings: Any, reports: list[QueryReport]
) -> None:
    settings.QUERYBUDGET = {
        "BUDGETS": {
            "v1:industry-list": 9,
            "POST v1:industry-list": 8,
            "v1:*": 7,
            "ninja:industries": 6,
            "PUT ninja:rename": 5,
            "ninja:*": 4,
        }
    }
    assert check_budgets() == []
    ask(method, address)
    (report,) = reports
    assert report.budget is not None
    assert report.budget.max_queries == budget


@pytest.mark.parametrize("address", ["/above/", "/below/", "/plain/"])
def test_a_decorated_rest_view_raises(address: str) -> None:
    assert ask("GET", f"{address}?n=1").json() == [0]
    with pytest.raises(QueryBudgetExceeded, match="2 queries executed, budget is 1"):
        ask("GET", f"{address}?n=2")


def test_an_action_counts_what_its_serializer_queries() -> None:
    for number in range(2):
        Industry.objects.create(name=str(number))
    assert len(ask("GET", "/v1/industries/largest/").json()) == 2
    Industry.objects.create(name="2")
    with pytest.raises(QueryBudgetExceeded, match="4 queries executed, budget is 3"):
        ask("GET", "/v1/industries/largest/")


def test_what_a_renderer_queries_is_the_views(reports: list[QueryReport]) -> None:
    """It renders when the view has returned."""
    assert ask("GET", "/listed/").status_code == 200
    (report,) = reports
    assert report.log.count == 2


def test_an_answer_of_an_exception_is_judged_as_well(reports: list[QueryReport]) -> None:
    assert ask("DELETE", "/v1/industries/1/").status_code == 404
    (report,) = reports
    assert report.budget is not None
    assert (report.budget.max_queries, report.violations) == (0, ())


@pytest.mark.django_db(transaction=True)
def test_operations_under_asgi(settings: Any, reports: list[QueryReport]) -> None:
    settings.QUERYBUDGET = {"BUDGETS": {"ninja:rename": 0, "ninja:alone": 1}}

    async def both() -> None:
        assert (await AsyncClient().get("/ninja/shop/alone")).status_code == 200
        with pytest.raises(QueryBudgetExceeded, match="PATCH ninja:rename: 1 query exec"):
            await AsyncClient().patch("/ninja/shop/industries")

    asyncio.run(both())
    assert [report.name for report in reports] == ["GET ninja:alone", "PATCH ninja:rename"]


def test_a_method_that_a_client_invents_costs_no_memory() -> None:
    from django_querybudget.routing import views

    request = HttpRequest()
    from django.urls import resolve

    match = resolve("/ninja/shop/industries")
    for number in range(100):
        request.method = f"BREW{number}"
        assert view_name_of(request, match) == "ninja:industries"
    assert max(len(names) for names in views._operation_names.values()) == 4
