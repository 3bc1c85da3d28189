"""Views for the tests of counting: what a host's views do, one thing each."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from asgiref.sync import sync_to_async
from django.db import connection
from django.http import (
    FileResponse,
    HttpRequest,
    HttpResponse,
    HttpResponseBase,
    StreamingHttpResponse,
)
from django.template.response import TemplateResponse
from django.urls import include, path
from ninja import NinjaAPI

from jobs.models import Industry


def count_industries() -> int:
    return Industry.objects.count()


def count_in_own_connection() -> int:
    """Count on a pool's thread, whose connection nobody would close."""
    try:
        return Industry.objects.count()
    finally:
        connection.close()


def two(request: HttpRequest) -> HttpResponse:
    return HttpResponse(f"{count_industries()} {count_industries()}")


def no_queries(request: HttpRequest) -> HttpResponse:
    return HttpResponse("nothing")


def timed(request: HttpRequest) -> HttpResponse:
    return HttpResponse("timed", headers={"Server-Timing": "cache;dur=1.5"})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    def chunks() -> Iterator[str]:
        for _ in range(3):
            yield f"{count_industries()};"

    count_industries()
    return StreamingHttpResponse(chunks())


def failing_stream(request: HttpRequest) -> StreamingHttpResponse:
    def chunks() -> Iterator[str]:
        yield f"{count_industries()};"
        raise LookupError("the stream broke")

    return StreamingHttpResponse(chunks())


def template(request: HttpRequest) -> TemplateResponse:
    return TemplateResponse(request, "industries.html", {"industries": Industry.objects.all()})


def file(request: HttpRequest) -> FileResponse:
    count_industries()
    return FileResponse(Path(__file__).open("rb"))


def crash(request: HttpRequest) -> HttpResponse:
    count_industries()
    raise LookupError("the view broke")


async def async_two(request: HttpRequest) -> HttpResponse:
    await Industry.objects.acount()
    return HttpResponse(str(await Industry.objects.acount()))


async def async_gather(request: HttpRequest) -> HttpResponse:
    counts = await asyncio.gather(*(Industry.objects.acount() for _ in range(5)))
    return HttpResponse(str(sum(counts)))


async def async_insensitive(request: HttpRequest) -> HttpResponse:
    count = sync_to_async(count_in_own_connection, thread_sensitive=False)
    counts = await asyncio.gather(count(), count(), count())
    return HttpResponse(str(sum(counts)))


async def async_stream(request: HttpRequest) -> StreamingHttpResponse:
    async def chunks() -> AsyncIterator[str]:
        for _ in range(3):
            yield f"{await Industry.objects.acount()};"

    await Industry.objects.acount()
    return StreamingHttpResponse(chunks())


api = NinjaAPI()


@api.get("/first")
def first(request: HttpRequest) -> dict[str, Any]:
    return {"count": count_industries()}


@api.get("/second")
def second(request: HttpRequest) -> dict[str, Any]:
    return {"count": count_industries()}


def _view(name: str, view: Any) -> Any:
    return path(name, view, name=name)


urlpatterns = [
    *(
        _view(view.__name__, view)
        for view in (two, no_queries, timed, stream, failing_stream, template, file, crash)
    ),
    *(
        _view(view.__name__, view)
        for view in (async_two, async_gather, async_insensitive, async_stream)
    ),
    path("nameless/<int:number>", lambda request, number: two(request)),
    path("spaced/", include(([_view("two", two)], "spaced"))),
    path("api/", api.urls),
]


def response_text(response: HttpResponseBase) -> str:
    """The whole content of a response, a sync stream's included."""
    if isinstance(response, StreamingHttpResponse):
        return b"".join(response).decode()
    assert isinstance(response, HttpResponse)
    return response.content.decode()
