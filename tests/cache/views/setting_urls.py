"""Views that the settings cache, or not: no line of ours is in them."""

from __future__ import annotations

from typing import Any

from django.db import connection, connections
from django.http import HttpRequest, HttpResponse
from django.template import engines
from django.template.response import TemplateResponse
from django.urls import include, path

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


def of_thread(request: HttpRequest) -> HttpResponse:
    return said(request, sorted(each.alias for each in connections.all(initialized_only=True)))


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
    path("uncached/", industries, name="uncached"),
]
