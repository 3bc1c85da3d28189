"""``cached_view``: a view whose answers are kept, and dropped by every write they depend on."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection
from functools import partial, wraps
from types import FunctionType, MethodType
from typing import Any, TypeVar, cast

from asgiref.sync import iscoroutinefunction, sync_to_async
from django.conf import settings
from django.http import HttpRequest
from django.utils.module_loading import import_string

from django_querybudget.cache.api import (
    DEFAULT,
    checked_cache,
    checked_refresh,
    checked_tags,
    checked_timeout,
)
from django_querybudget.cache.reading.sampling import due
from django_querybudget.cache.registered import Warm, checked_warm, note_view
from django_querybudget.conf import conf
from django_querybudget.routing.decorated import decorated

from .called import Call
from .serving import Served, ViewOptions, served, waited
from .telling import CacheStatus, told, told_async
from .varying import Varying, VaryOn

__all__ = ["MARK", "cached_view"]

V = TypeVar("V")

MARK = "_querybudget_cached_view"
"""The attribute of a view that is cached; outer decorators copy it."""


class cached_view:  # noqa: N801  # a decorator
    """Keep a view's answers, and drop each as soon as a write changes what it was made of.

    ``timeout``: how long an answer is kept at most, in seconds; None for no limit; without it,
    ``QUERYBUDGET["CACHE"]["TIMEOUT"]``. ``vary_on``: what of a request is part of the key besides
    its URL, language and time zone: ``"user"``, ``"session"``, ``"cookie:NAME"``,
    ``"header:NAME"``, a callable that takes the request. ``tags`` are names for
    :func:`~django_querybudget.cache.invalidate`. ``cache`` is the alias of the cache that holds the
    answers. ``ignore_params`` are parameters of the query string that change no answer,
    ``("utm_*",)``. ``refresh=30``: an answer that is no longer true may be served for at most 30
    seconds after it was, while one request makes it anew; never without it. ``warm`` is a list of
    paths that ``manage.py querybudget cache warm`` asks for, or a callable that returns them.

    It decorates function views, class-based views and their methods, sync and async. What the
    answer depends on in the database is found from the view's own statements. If the view reads
    anything of its request that is not part of the key, its answer is not stored; the reason is in
    ``cache_stats()`` and, once for each view, in the log at DEBUG::

        @cached_view(60, vary_on=())
        def job_list(request): ...

    Raises ``TypeError`` or ``ValueError`` naming the argument that is wrong.
    """

    def __init__(
        self,
        timeout: Any = DEFAULT,
        *,
        vary_on: Collection[VaryOn] = ("user",),
        tags: Collection[str] = (),
        cache: str | None = None,
        ignore_params: Collection[str] = (),
        refresh: float | None = None,
        warm: Warm | None = None,
    ) -> None:
        if callable(timeout):
            raise TypeError("cached_view takes its timeout first: write @cached_view(60).")
        checked_timeout(timeout)
        checked_cache(cache)
        checked_refresh(refresh)
        checked_warm(warm)
        if isinstance(ignore_params, str) or not all(isinstance(e, str) for e in ignore_params):
            raise TypeError(f"ignore_params must be a list of names, not {ignore_params!r}.")
        self._timeout = timeout
        self._varying = Varying.of(vary_on)
        self._tags = checked_tags(tags)
        self._cache = cache
        self._ignored = tuple(ignore_params)
        self._refresh = refresh
        self._warm = warm
        self._options: ViewOptions | None = None

    @property
    def warm(self) -> Warm | None:
        """The paths to ask for before anybody does."""
        return self._warm

    @property
    def caches(self) -> bool:
        """Whether it keeps anything: a timeout of 0 does not."""
        return bool(self._timeout != 0)

    @property
    def options(self) -> ViewOptions:
        """What it was given, and the settings for the rest."""
        timeout = conf.CACHE.TIMEOUT if self._timeout is DEFAULT else self._timeout
        cache = conf.CACHE.ALIAS if self._cache is None else self._cache
        made = self._options
        if made is None or made.timeout != timeout or made.cache != cache:
            made = self._options = ViewOptions(
                timeout=timeout,
                varying=self._varying,
                tags=self._tags,
                cache=cache,
                ignore_params=self._ignored,
                refresh=self._refresh,
            )
        return made

    def __call__(self, view: V) -> V:
        if isinstance(view, type):
            return cast("V", self._decorate_class(view))
        if not callable(view):
            raise TypeError(f"cached_view decorates views, not {view!r}.")
        name = _name_of(view)
        made: Any = self._async(view, name) if iscoroutinefunction(view) else self._sync(view, name)
        setattr(made, MARK, self)
        note_view(name, self._warm)
        if isinstance(
            cast("object", view), FunctionType
        ):  # not what method_decorator() makes for each call
            decorated[made] = "cached_view"
        return cast("V", made)

    def _decorate_class(self, cls: Any) -> Any:
        if not callable(getattr(cls, "as_view", None)) or not callable(
            getattr(cls, "dispatch", None)
        ):
            raise TypeError(f"{cls!r} is no class-based view: decorate its methods.")
        name = f"{cls.__module__}.{cls.__qualname__}"
        dispatch = cls.dispatch
        is_async = bool(getattr(cls, "view_is_async", False))

        def method(view: Any, request: Any, *args: Any, **kwargs: Any) -> Any:
            bound = partial(dispatch, view)
            call = self._async(bound, name) if is_async else self._sync(bound, name)
            return call(request, *args, **kwargs)

        cls.dispatch = wraps(dispatch)(method)
        setattr(cls.dispatch, MARK, self)
        note_view(name, self._warm)
        return cls

    def _sync(self, view: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(view)
        def call(request: Any, *args: Any, **kwargs: Any) -> Any:
            own = _underlying(request, name)
            given = Call(request, args, kwargs, view)
            found = served(name, self.options, own, given)
            if isinstance(found, CacheStatus):
                return told(view(request, *args, **kwargs), own, found)
            for seconds in found.waits():
                time.sleep(seconds)
            if (response := found.response) is not None:
                if due():
                    found.audit(partial(view, request, *args, **kwargs), request)
                return told(response, own, found)
            try:
                with found.running():
                    response = view(request, *args, **kwargs)
            except BaseException:
                found.release()
                raise
            return _finished(found, response)

        return call

    def _async(self, view: Callable[..., Any], name: str) -> Callable[..., Any]:
        @wraps(view)
        async def call(request: Any, *args: Any, **kwargs: Any) -> Any:
            own = _underlying(request, name)
            given = Call(request, args, kwargs, view)
            found = await sync_to_async(served)(name, self.options, own, given)
            if isinstance(found, CacheStatus):
                return await told_async(await view(request, *args, **kwargs), own, found)
            await waited(found)
            if (response := found.response) is not None:
                if due():
                    again = partial(view, request, *args, **kwargs)
                    await sync_to_async(found.audit)(again, request)
                return await told_async(response, own, found)
            try:
                await sync_to_async(found.begin)()
                with found.running():
                    response = await view(request, *args, **kwargs)
            except BaseException:
                await sync_to_async(found.release)()
                raise
            return await sync_to_async(_finished)(found, response)

        return call


def _finished(found: Served, response: Any) -> Any:
    """Store what the view returned, or what it becomes when it is rendered."""
    if not _is_unrendered(response):
        try:
            found.done(response)
        finally:
            found.release()
        return told(response, found.request, found)
    for path in settings.MIDDLEWARE:
        if hasattr(import_string(path), "process_template_response"):
            found.spoil(f"{path.rpartition('.')[2]} may change a template's response")

    def render() -> Any:
        # Callbacks of render() may pickle the response: leave nothing on it.
        del response.render
        try:
            with found.running():
                rendered = response.render()
            found.done(rendered)
        finally:
            found.release()
        return told(rendered, found.request, found)

    response.render = render
    return response


def _is_unrendered(response: Any) -> bool:
    """Whether a response is rendered later, by Django."""
    return getattr(response, "is_rendered", True) is False


def _underlying(request: Any, name: str) -> HttpRequest:
    """Return Django's request; Django REST framework wraps it."""
    found = getattr(request, "_request", request)
    if not isinstance(found, HttpRequest):
        raise TypeError(
            f"{name}() is decorated with cached_view, but was not called with a request first: "
            f"on a method of a class, write @method_decorator(cached_view(…))."
        )
    return found


def _name_of(view: Any) -> str:
    # method_decorator() has each call decorate a partial of the bound method.
    if isinstance(view, partial) and isinstance(view.func, MethodType):
        cls = type(view.func.__self__)
        return f"{cls.__module__}.{cls.__qualname__}.{view.func.__name__}"
    # django-ninja's decorate_view() decorates the run() of an operation.
    if isinstance(view, MethodType):
        view = getattr(view.__self__, "view_func", view)
    name = getattr(view, "__qualname__", type(view).__qualname__)
    return f"{getattr(view, '__module__', '')}.{name}"
