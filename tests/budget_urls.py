"""Views under budgets, one for each kind that a host has."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from typing import Any

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.template.response import TemplateResponse
from django.urls import include, path, re_path
from django.utils.decorators import method_decorator
from django.views import View
from django.views.decorators.csrf import csrf_exempt
from ninja import NinjaAPI, Schema
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.viewsets import ViewSet

from django_querybudget import query_budget
from jobs.models import Industry


def run(queries: int) -> None:
    for number in range(queries):
        Industry.objects.filter(pk=number).exists()


def asked(request: HttpRequest) -> int:
    return int(request.GET.get("queries", "0"))


@query_budget(2)
def function(request: HttpRequest) -> HttpResponse:
    run(asked(request))
    return HttpResponse("done")


@csrf_exempt
@login_not_required
@query_budget(2)
def decorated_above(request: HttpRequest) -> HttpResponse:
    run(asked(request))
    return HttpResponse("done")


@query_budget(2)
async def coroutine(request: HttpRequest) -> HttpResponse:
    for number in range(asked(request)):
        await Industry.objects.filter(pk=number).aexists()
    return HttpResponse("done")


@query_budget(2)
class Whole(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        run(asked(request))
        return HttpResponse("done")


class Handler(View):
    @query_budget(2)
    def get(self, request: HttpRequest) -> HttpResponse:
        run(asked(request))
        return HttpResponse("done")

    def post(self, request: HttpRequest) -> HttpResponse:
        run(5)
        return HttpResponse("done")


@method_decorator(query_budget(2), name="dispatch")
class Dispatch(Handler):
    pass


class AsyncHandler(View):
    @query_budget(2)
    async def get(self, request: HttpRequest) -> HttpResponse:
        for number in range(asked(request)):
            await Industry.objects.filter(pk=number).aexists()
        return HttpResponse("done")


class Lazy:
    """Queries when a template asks."""

    def __init__(self, queries: int) -> None:
        self.queries = queries

    def __str__(self) -> str:
        run(self.queries)
        return "lazy"


@query_budget(2)
def template(request: HttpRequest) -> TemplateResponse:
    return TemplateResponse(request, "lazy.html", {"lazy": Lazy(asked(request))})


@query_budget(2)
def stream(request: HttpRequest) -> StreamingHttpResponse:
    def chunks() -> Iterator[str]:
        for number in range(asked(request)):
            yield f"{Industry.objects.filter(pk=number).exists()};"

    return StreamingHttpResponse(chunks())


@query_budget(2)
async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncIterator[str]:
        for number in range(asked(request)):
            yield f"{await Industry.objects.filter(pk=number).aexists()};"

    return StreamingHttpResponse(chunks())


@query_budget(2)
def crash(request: HttpRequest) -> HttpResponse:
    run(asked(request))
    raise LookupError("the view broke")


@query_budget(1)
def helper(request: HttpRequest) -> int:
    run(asked(request))
    return 1


def uses_helper(request: HttpRequest) -> HttpResponse:
    run(3)
    helper(request)
    return HttpResponse("done")


def plain(request: HttpRequest, **kwargs: Any) -> HttpResponse:
    run(asked(request))
    return HttpResponse("done")


class Things(ViewSet):
    authentication_classes = ()
    permission_classes = ()

    @query_budget(2)
    def list(self, request: Request) -> Response:
        run(asked(request))
        return Response([])

    @action(detail=False, url_path="below")
    @query_budget(2)
    def budget_below(self, request: Request) -> Response:
        run(asked(request))
        return Response([])

    @query_budget(2)
    @action(detail=False, url_path="above")
    def budget_above(self, request: Request) -> Response:
        run(asked(request))
        return Response([])


router = SimpleRouter()
router.register("things", Things, basename="thing")

api = NinjaAPI(urls_namespace="budgeted")


class Out(Schema):
    name: str

    @staticmethod
    def resolve_name(things: Lazy) -> str:
        return str(things)


@api.get("/operation", response=Out)
@query_budget(2)
def operation(request: HttpRequest) -> Lazy:
    """Queries while ninja serializes, after the operation has returned."""
    return Lazy(asked(request))


@api.get("/other")
def other_operation(request: HttpRequest) -> str:
    run(asked(request))
    return "done"


urlpatterns = [
    *(
        path(view.__name__, view, name=view.__name__)
        for view in (
            function,
            decorated_above,
            coroutine,
            template,
            stream,
            async_stream,
            crash,
            uses_helper,
            plain,
        )
    ),
    path("whole", Whole.as_view(), name="whole"),
    path("handler", Handler.as_view(), name="handler"),
    path("dispatch", Dispatch.as_view(), name="dispatch"),
    path("async_handler", AsyncHandler.as_view(), name="async_handler"),
    path("jobs/", include(([path("list", plain, name="list")], "jobs"))),
    path("nameless/<int:number>/", plain),
    re_path(r"^regex/(?P<slug>[a-z]+)$", plain, name="regex"),
    path("rest/", include(router.urls)),
    path("ninja/", api.urls),
]
