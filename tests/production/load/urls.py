"""The marketplace's addresses, production's page, and Prometheus' metrics of all processes."""

import os
from collections.abc import Callable
from typing import Any

from asgiref.sync import iscoroutinefunction
from django.http import HttpRequest, HttpResponse
from django.urls import include, path
from django.utils.decorators import sync_and_async_middleware
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from marketplace import urls

WORKER = "X-Worker"


@sync_and_async_middleware
def name_worker(get_response: Callable[[HttpRequest], Any]) -> Callable[[HttpRequest], Any]:
    """Tell the client which process answered."""
    worker = str(os.getpid())  # after the fork: the application is made in the worker

    if iscoroutinefunction(get_response):

        async def answer_async(request: HttpRequest) -> Any:
            response = await get_response(request)
            response.headers[WORKER] = worker
            return response

        return answer_async

    def answer(request: HttpRequest) -> Any:
        response = get_response(request)
        response.headers[WORKER] = worker
        return response

    return answer


def metrics(request: HttpRequest) -> HttpResponse:
    """Serve what the client library's documentation says."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return HttpResponse(generate_latest(registry), CONTENT_TYPE_LATEST)


urlpatterns = [
    path("metrics", metrics),
    path("querybudget/", include("django_querybudget.urls")),
    *urls.urlpatterns,
]
