"""A small host: views of every kind of which something can be known."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.views import View
from rest_framework.decorators import api_view
from rest_framework.request import Request
from rest_framework.response import Response

from django_querybudget import query_budget
from django_querybudget.cache import cached_view
from jobs.models import Industry, Subcategory


def names(request: HttpRequest) -> HttpResponse:
    """A loop: each subcategory loads its industry."""
    found = [each.industry.name for each in Subcategory.objects.all()]
    return HttpResponse(", ".join(found))


def two_loops(request: HttpRequest) -> HttpResponse:
    """Two loops of one kind, one after the other."""
    found = [each.industry.name for each in Subcategory.objects.all()]
    found += [each.industry.name for each in Subcategory.objects.order_by("name")]
    return HttpResponse(", ".join(found))


class Industries(View):
    @query_budget(3, duplicates=0)
    def get(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(str(Industry.objects.count()))

    def post(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse("made")


@api_view(["GET", "PUT"])
def plain(request: Request) -> Response:
    return Response({})


@cached_view(60, vary_on=())
def kept(request: HttpRequest) -> HttpResponse:
    return HttpResponse(str(Industry.objects.count()))


jobs: Any = (
    [
        path("names/", names, name="names"),
        path("two/", two_loops, name="two"),
        path("industries/", Industries.as_view(), name="industries"),
    ],
    "jobs",
)
urlpatterns = [
    path("jobs/", include(jobs, namespace="jobs")),
    path("plain/<int:pk>/", plain),
    path("kept/", kept, name="kept"),
]
