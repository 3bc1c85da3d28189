"""Our middleware, by the names that stand in ``MIDDLEWARE``.

``QueryBudgetMiddleware`` measures the queries of every view. Put it first: what stands above it is
not measured. ``CachedViewMiddleware`` caches views. Put it last. It is imported when it is asked
for: a process that caches nothing loads no cache.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.http import HttpRequest, StreamingHttpResponse
from django.http.response import HttpResponseBase

from django_querybudget.budgets.by_view import Declared, measured_request, view_budget
from django_querybudget.recording.streams import is_streamed, measured_stream
from django_querybudget.reports.enforcement import (
    enforce,
    enforce_nplusone,
    in_tests,
    nplusone_policy,
)
from django_querybudget.reports.report import QueryReport
from django_querybudget.reports.reporters import tell, tell_async
from django_querybudget.routing.views import view_name_of

from .capture import Recording
from .conf import conf

if TYPE_CHECKING:
    from django_querybudget.cache.views.middleware import CachedViewMiddleware

__all__ = ["CachedViewMiddleware", "QueryBudgetMiddleware"]


def __getattr__(name: str) -> Any:  # PEP 562
    if name == "CachedViewMiddleware":
        from django_querybudget.cache.views.middleware import CachedViewMiddleware

        return CachedViewMiddleware
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


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
        __tracebackhide__ = True
        if self.is_async:
            return self._call_async(request)
        get_response = cast("Callable[[HttpRequest], HttpResponseBase]", self.get_response)
        if not _is_measured(request):
            return get_response(request)
        recording = _recording()
        with recording, _measuring(request, recording):
            response = get_response(request)
        if is_streamed(response):
            return _report_at_the_end(recording, request, response)
        recording.close()
        declared = view_budget(request)
        report = _report(recording, request, response, declared)
        tell(report, request, response)
        _enforce(report, declared)
        return response

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        __tracebackhide__ = True
        get_response = cast(
            "Callable[[HttpRequest], Awaitable[HttpResponseBase]]", self.get_response
        )
        if not _is_measured(request):
            return await get_response(request)
        recording = _recording()
        with recording, _measuring(request, recording):
            response = await get_response(request)
        if is_streamed(response):
            return _report_at_the_end(recording, request, response)
        recording.close()
        declared = view_budget(request)
        report = _report(recording, request, response, declared)
        await tell_async(report, request, response)
        _enforce(report, declared)
        return response


def _recording() -> Recording:
    return Recording(origins=conf.ORIGINS, causes=nplusone_policy() != "off")


def _is_measured(request: HttpRequest) -> bool:
    if not conf.ENABLED:
        return False
    if any(pattern.search(request.path) for pattern in conf.IGNORE_PATHS):
        return False
    rate = conf.SAMPLE_RATE
    return rate >= 1 or random.random() < rate  # noqa: S311 - a sample needs no secret


def _report_at_the_end(
    recording: Recording, request: HttpRequest, response: StreamingHttpResponse
) -> HttpResponseBase:
    def done() -> tuple[QueryReport, Declared | None]:
        recording.close()
        declared = view_budget(request)
        return _report(recording, request, response, declared), declared

    def report(complete: bool) -> None:
        __tracebackhide__ = True
        about, declared = done()
        tell(about, request, response)
        _enforce(about, declared, complete=complete)

    async def report_async(complete: bool) -> None:
        __tracebackhide__ = True
        about, declared = done()
        await tell_async(about, request, response)
        _enforce(about, declared, complete=complete)

    return measured_stream(response, recording, report, report_async)


def _enforce(report: QueryReport, declared: Declared | None, *, complete: bool = True) -> None:
    """Raise or warn; ``complete`` is whether a stream came to its end. The reporters have logged.

    An error's response is left alone: its exception is not to be replaced by ours. And a client
    that has a whole stream but for its end is better off with that end.
    """
    __tracebackhide__ = True
    in_flight = not complete or (report.status_code or 0) >= 500
    in_flight = in_flight or (report.streaming and not in_tests())
    if declared is not None:
        enforce(report, declared.on_exceed, in_flight=in_flight, logged=True)
    enforce_nplusone(report, nplusone_policy(), in_flight=in_flight, logged=True)


def _report(
    recording: Recording,
    request: HttpRequest,
    response: HttpResponseBase,
    declared: Declared | None,
) -> QueryReport:
    view_name = view_name_of(request)
    return QueryReport(
        name=f"{request.method} {view_name or 'no view'}",
        log=recording.log,
        budget=declared.budget if declared is not None else None,
        view_name=view_name,
        method=request.method,
        status_code=response.status_code,
        streaming=is_streamed(response),
    )


@contextmanager
def _measuring(request: HttpRequest, recording: Recording) -> Iterator[None]:
    """Tell the decorator of the request's view that its budget is looked after.

    A request that has no response (an ASGI client went away, and its view was cancelled) has no
    report either; what still runs for it must not go on recording.
    """
    token = measured_request.set(request)
    try:
        yield
    except BaseException:
        recording.close()
        raise
    finally:
        measured_request.reset(token)
