"""``CachedViewMiddleware``: caches the views that ``QUERYBUDGET["CACHE"]["VIEWS"]`` names.

``process_view`` looks for the answer when every other middleware has let the request through, and
returns it in the view's place. On a miss Django runs the view as ever, in its transaction, with its
exceptions and its rendering; the request is observed meanwhile, and what comes back is stored.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, cast

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from django.utils.module_loading import import_string

from django_querybudget.cache.reading.sampling import due
from django_querybudget.routing.views import view_name_of

from .by_setting import declared
from .bypasses import bypassed
from .called import Call
from .placement import misplaced
from .serving import Served, served, waited
from .telling import CacheStatus, told, told_async

__all__ = ["CachedViewMiddleware", "is_ours"]

GetResponse = Callable[[HttpRequest], HttpResponseBase | Awaitable[HttpResponseBase]]

_FOUND = "_querybudget_cached_view"
"""The attribute of a request, between the two halves of this middleware."""


class CachedViewMiddleware:
    """Cache the views that ``QUERYBUDGET["CACHE"]["VIEWS"]`` names. Put it last in ``MIDDLEWARE``.

    Sync and async in one class. It does what ``cached_view`` does, and keeps no state of a request
    on itself.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response
        self.is_async = iscoroutinefunction(get_response)
        # Django asks which of both it is.
        self.process_view: Callable[..., Any] = self._look_up
        if self.is_async:
            markcoroutinefunction(self)
            self.process_view = self._look_up_async
        self._misplaced = misplaced(list(settings.MIDDLEWARE), is_ours)

    def __call__(self, request: HttpRequest) -> HttpResponseBase | Awaitable[HttpResponseBase]:
        if self.is_async:
            return self._call_async(request)
        get_response = cast("Callable[[HttpRequest], HttpResponseBase]", self.get_response)
        try:
            response = get_response(request)
        except BaseException:
            _abandon(_taken(request))
            raise
        return _finished(request, response, _taken(request))

    async def _call_async(self, request: HttpRequest) -> HttpResponseBase:
        get_response = cast(
            "Callable[[HttpRequest], Awaitable[HttpResponseBase]]", self.get_response
        )
        try:
            response = await get_response(request)
        except BaseException:
            if (found := _taken(request)) is not None:
                await sync_to_async(_abandon)(found)
            raise
        found = _taken(request)
        if isinstance(found, Run):
            return await sync_to_async(_finished)(request, response, found)
        return await told_async(response, request, found) if found is not None else response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Store nothing of a view that raised, whoever makes a response of that."""
        found = request.__dict__.get(_FOUND)
        if isinstance(found, Run):
            found.served.spoil(f"the view raised {type(exception).__name__}")

    def _look_up(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        found = self._served(request, Call(None, args, kwargs))
        if isinstance(found, Served):
            for seconds in found.waits():
                time.sleep(seconds)
            if (response := found.response) is not None:
                if due():
                    found.audit(partial(view, request, *args, **kwargs))
                return cast("HttpResponseBase", told(response, request, found))
        _begin(request, found)
        return None

    async def _look_up_async(
        self, request: HttpRequest, view: Callable[..., Any], args: Any, kwargs: Any
    ) -> HttpResponseBase | None:
        if request.__dict__.get(_FOUND) is not None or declared(request) is None:
            return None  # without a thread
        found = await sync_to_async(self._served)(request, Call(None, args, kwargs))
        if isinstance(found, Served):
            await waited(found)
            if (response := found.response) is not None:
                if due():
                    await sync_to_async(found.audit)(partial(view, request, *args, **kwargs))
                told_one: HttpResponseBase = await told_async(response, request, found)
                return told_one
            await sync_to_async(found.begin)()
        _begin(request, found)
        return None

    def _served(self, request: HttpRequest, call: Call) -> Served | CacheStatus | None:
        """Look for the answer; None where the setting says nothing, or an outer one looks after it.

        The request may come back here: it is listed twice, say.
        """
        if _FOUND in request.__dict__ or (cached := declared(request)) is None:
            return None
        name = view_name_of(request) or ""
        if self._misplaced:
            names = ", ".join(each.rpartition(".")[2] for each in self._misplaced)
            return bypassed(name, f"{names} below CachedViewMiddleware")
        return served(name, cached.options, request, call)


class Run:
    """A view that runs for the cache: from ``process_view`` to its response."""

    def __init__(self, found: Served) -> None:
        self.served = found
        self._running: AbstractContextManager[None] = found.running()

    def begin(self) -> None:
        """Observe what it reads from now on."""
        self._running.__enter__()

    def end(self) -> None:
        """It is over."""
        self._running.__exit__(None, None, None)


def _begin(request: HttpRequest, found: Served | CacheStatus | None) -> None:
    """Note what was found, and let the view run, for the cache where it may."""
    if isinstance(found, Served):
        run = Run(found)
        try:
            run.begin()
        except BaseException:
            found.release()
            raise
        request.__dict__[_FOUND] = run
    elif found is not None:
        request.__dict__[_FOUND] = found


def _taken(request: HttpRequest) -> Run | CacheStatus | None:
    found: Run | CacheStatus | None = request.__dict__.pop(_FOUND, None)
    if isinstance(found, Run):
        found.end()
    return found


def _abandon(found: Run | CacheStatus | None) -> None:
    if isinstance(found, Run):
        found.served.release()


def _finished(
    request: HttpRequest, response: HttpResponseBase, found: Run | CacheStatus | None
) -> HttpResponseBase:
    if found is None:
        return response
    if isinstance(found, CacheStatus):
        status = found
    else:
        try:
            found.served.done(response)
        finally:
            found.served.release()
        status = found.served.status
    return told(response, request, status)


def is_ours(path: str) -> bool:
    """Whether an entry of ``MIDDLEWARE`` is this middleware or one that extends it."""
    try:
        found = import_string(path)
    except Exception:  # a module may raise anything; Django tells it
        return False
    return isinstance(found, type) and issubclass(found, CachedViewMiddleware)
