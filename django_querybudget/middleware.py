"""``QueryBudgetMiddleware``: measures the queries of every view.

Put it first in ``MIDDLEWARE``: what stands above it is not measured.
"""

from __future__ import annotations

import random
from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Iterable, Iterator
from typing import cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from .capture import Recording
from .conf import conf
from .reporters import tell
from .reports import QueryReport

__all__ = ["QueryBudgetMiddleware"]

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]


class QueryBudgetMiddleware:
    """Count each view's queries; tell the reporters when its response is done.

    Sync and async in one class, as Django asks for. It keeps no state of a request on itself and
    leaves none on a connection, and it changes nothing of a response but its headers.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._call_async(request)
        get_response = cast("Callable[[HttpRequest], HttpResponseBase]", self.get_response)
        if not _is_measured(request):
            return get_response(request)
        recording = Recording(origins=conf.ORIGINS)
        with recording:
            response = get_response(request)
        return _report_when_done(recording, request, response)

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        get_response = cast(
            "Callable[[HttpRequest], Awaitable[HttpResponseBase]]", self.get_response
        )
        if not _is_measured(request):
            return await get_response(request)
        recording = Recording(origins=conf.ORIGINS)
        with recording:
            response = await get_response(request)
        return _report_when_done(recording, request, response)


def _is_measured(request: HttpRequest) -> bool:
    if not conf.ENABLED:
        return False
    if any(pattern.search(request.path) for pattern in conf.IGNORE_PATHS):
        return False
    rate = conf.SAMPLE_RATE
    return rate >= 1 or random.random() < rate  # noqa: S311 - a sample needs no secret


def _report_when_done(
    recording: Recording, request: HttpRequest, response: HttpResponseBase
) -> HttpResponseBase:
    """Report now, or at the end of a stream, whose queries run while it is sent."""
    if not isinstance(response, StreamingHttpResponse) or _is_sent_as_a_file(response):
        recording.close()
        tell(_report(recording, request, response), request, response)
        return response

    def done() -> None:
        recording.close()
        tell(_report(recording, request, response), request, response)

    if response.is_async:
        chunks = cast("AsyncIterable[bytes]", response.streaming_content)
        response.streaming_content = MeasuredAsyncStream(chunks, recording, done)
    else:
        response.streaming_content = MeasuredStream(
            cast("Iterable[bytes]", response.streaming_content), recording, done
        )
    return response


def _is_sent_as_a_file(response: StreamingHttpResponse) -> bool:
    """Whether the server may send it with sendfile(), which a wrapped stream would turn off."""
    return getattr(response, "file_to_stream", None) is not None


def _report(recording: Recording, request: HttpRequest, response: HttpResponseBase) -> QueryReport:
    view_name = view_name_of(request)
    return QueryReport(
        name=f"{request.method} {view_name or 'no view'}",
        log=recording.log,
        view_name=view_name,
        method=request.method,
        status_code=response.status_code,
        streaming=isinstance(response, StreamingHttpResponse) and not _is_sent_as_a_file(response),
    )


def view_name_of(request: HttpRequest) -> str | None:
    """Return ``view_name`` as the URLconf has it; the route of a view without a name.

    A view function's own name would not do: every operation of a django-ninja API resolves to the
    same function. None if no URL matched.
    """
    match = request.resolver_match
    if match is None:
        return None
    return match.view_name if match.url_name else f"/{match.route}"


class _Stream:
    """A response's content, measured while the server takes it; ``done`` is called once, then.

    Classes, not generators: a generator that never was started (a ``HEAD`` request, a client that
    went away) never reaches its ``finally``.
    """

    def __init__(self, recording: Recording, done: Callable[[], None]) -> None:
        self._recording = recording
        self._done: Callable[[], None] | None = done

    def close(self) -> None:
        """Report, unless that was done; Django calls this with ``response.close()``."""
        done, self._done = self._done, None
        if done is not None:
            done()


class MeasuredStream(_Stream, Iterator[bytes]):
    """The content of a sync ``StreamingHttpResponse``."""

    def __init__(
        self, chunks: Iterable[bytes], recording: Recording, done: Callable[[], None]
    ) -> None:
        super().__init__(recording, done)
        self._chunks = iter(chunks)

    def __next__(self) -> bytes:
        try:
            with self._recording:
                return next(self._chunks)
        except BaseException:  # StopIteration among them.
            self.close()
            raise


class MeasuredAsyncStream(_Stream, AsyncIterator[bytes]):
    """The content of an async ``StreamingHttpResponse``."""

    def __init__(
        self, chunks: AsyncIterable[bytes], recording: Recording, done: Callable[[], None]
    ) -> None:
        super().__init__(recording, done)
        self._chunks = aiter(chunks)

    async def __anext__(self) -> bytes:
        try:
            with self._recording:
                return await anext(self._chunks)
        except BaseException:
            self.close()
            raise
