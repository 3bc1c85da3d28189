"""One view: the notes of the tenant whose host was asked."""

from typing import Any

from django.http import HttpRequest, JsonResponse
from django.urls import path

from tests.cache.tenants import reads


def notes(request: HttpRequest) -> JsonResponse:
    answer: Any = [reads.notes(), reads.decorated_notes(), reads.prices()]
    return JsonResponse(answer, safe=False)


urlpatterns = [path("notes/", notes)]
