"""Views that the settings cache, or not: no line of ours is in them."""

from __future__ import annotations

from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import include, path
from django.utils.decorators import method_decorator
from django.views.generic import View
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.routers import SimpleRouter
from rest_framework.views import APIView
from rest_framework.viewsets import ViewSet

from django_querybudget.cache import cached_view
from jobs.models import Industry

runs: list[str] = []


def said(request: HttpRequest, text: object) -> HttpResponse:
    runs.append(request.resolver_match.view_name)  # type: ignore[union-attr]
    return HttpResponse(f"{text}")


def industries(request: HttpRequest, **_: Any) -> HttpResponse:
    return said(request, ",".join(Industry.objects.order_by("pk").values_list("name", flat=True)))


async def in_async(request: HttpRequest) -> HttpResponse:
    return said(request, await Industry.objects.acount())


def template(request: HttpRequest) -> TemplateResponse:
    runs.append("template")
    text = "{{ told }}{% for each in rows %}{{ each.name }},{% endfor %}"
    return TemplateResponse(
        request, engines["django"].from_string(text), {"rows": Industry.objects.order_by("pk")}
    )


@cached_view(60, vary_on=(), tags=("decorator",))
def decorated(request: HttpRequest) -> HttpResponse:
    return said(request, "decorated")


def raises(request: HttpRequest) -> HttpResponse:
    said(request, "")
    raise ValueError("of the view")


def in_transaction(request: HttpRequest) -> HttpResponse:
    return said(request, connection.in_atomic_block)


def of_others(request: HttpRequest) -> HttpResponse:
    return said(request, Industry.objects.using(request.GET["alias"]).count())


def nothing(request: HttpRequest) -> None:
    runs.append("nothing")


def user(request: HttpRequest) -> HttpResponse:
    return said(request, getattr(request, "user", "no user"))


@method_decorator(cached_view(60, vary_on=()), name="dispatch")
class OfDjango(View):
    def get(self, request: HttpRequest) -> HttpResponse:
        return industries(request)


@method_decorator(cached_view(60), name="dispatch")
class OfFramework(APIView):
    renderer_classes = (JSONRenderer,)

    def get(self, request: Request) -> Response:
        said(request._request, "")
        return Response([each.name for each in Industry.objects.order_by("pk")])


class OfViewSet(ViewSet):
    renderer_classes = (JSONRenderer,)

    @action(detail=False)
    @method_decorator(cached_view(60))
    def named(self, request: Request) -> Response:
        said(request._request, "")
        return Response([each.name for each in Industry.objects.order_by("pk")])

    @method_decorator(cached_view(60))
    @action(detail=True)
    def one(self, request: Request, pk: str) -> Response:
        said(request._request, "")
        return Response(Industry.objects.get(pk=pk).name)


@method_decorator(cached_view(60), name="dispatch")
class WholeViewSet(OfViewSet):
    @action(detail=False)
    def plain(self, request: Request) -> Response:
        said(request._request, "")
        return Response([each.name for each in Industry.objects.order_by("pk")])


router = SimpleRouter()
router.register("set", OfViewSet, basename="set")
router.register("whole", WholeViewSet, basename="whole")

jobs = ([path("list/", industries, name="list"), path("other/", industries, name="other")], "jobs")

urlpatterns = [
    path("jobs/", include(jobs)),
    path("route/<int:pk>/", industries),
    path("in_async/", in_async, name="in_async"),
    path("template/", template, name="template"),
    path("decorated/", decorated, name="decorated"),
    path("raises/", raises, name="raises"),
    path("in_transaction/", in_transaction, name="in_transaction"),
    path("of_others/", of_others, name="of_others"),
    path("nothing/", nothing, name="nothing"),
    path("user/", user, name="user"),
    path("of_django/", OfDjango.as_view(), name="of_django"),
    path("of_framework/", OfFramework.as_view(), name="of_framework"),
    path("", include(router.urls)),
    path("uncached/", industries, name="uncached"),
]
