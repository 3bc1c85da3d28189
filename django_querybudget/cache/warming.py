"""Filling the cache before anybody asks: decorated functions, and cached views by their paths."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from django.conf import settings
from django.core.handlers.base import BaseHandler
from django.test import RequestFactory

from django_querybudget.cache.views.by_setting import parse_views
from django_querybudget.cache.views.decorator import MARK, cached_view
from django_querybudget.cache.views.mixin import CachedViewMixin
from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.routing.views import urlpatterns

from . import registered

__all__ = ["Job", "jobs"]


@dataclass(frozen=True, slots=True)
class Job:
    """One answer to be made, unless it is there."""

    name: str
    run: Callable[[], str]
    """Returns what went wrong, nothing where all is well."""


def jobs(only: Iterable[str] = (), *, host: str = "", https: bool = False) -> Iterator[Job]:
    """Return what can be made: of the functions and views in ``only``, or of all.

    A function is called with what it gives as ``warm``, without arguments if it takes none. A view
    is asked for at the paths that it gives as ``warm``, and at its own where that has no
    parameters; as by an anonymous visitor of ``host``.
    """
    wanted = frozenset(only)
    for name, function, warm in registered.functions():
        if not wanted or name in wanted:
            for arguments in _arguments(function, warm):
                yield Job(f"{name}{_spelled(arguments)}", _Call(function, arguments))
    asker = _Asker(host, https)
    for name, path in _paths():
        if not wanted or name in wanted or path in wanted:
            yield Job(f"GET {path}", asker.ask(path))


def _given(warm: registered.Warm) -> Iterable[Any]:
    return warm() if callable(warm) else warm


def _arguments(function: Any, warm: registered.Warm | None) -> Iterator[tuple[Any, ...]]:
    if warm is not None:
        for each in _given(warm):
            yield each if isinstance(each, tuple) else (each,)
        return
    parameters = inspect.signature(function).parameters.values()
    if all(
        each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
        for each in parameters
    ):
        yield ()


def _spelled(arguments: tuple[Any, ...]) -> str:
    return f"({', '.join(map(repr, arguments))})"


@dataclass(frozen=True, slots=True)
class _Call:
    function: Any
    arguments: tuple[Any, ...]

    def __call__(self) -> str:
        self.function(*self.arguments)  # the first call of a process learns what comes
        self.function(*self.arguments)._fetch_all()
        return ""


def _paths() -> Iterator[tuple[str, str]]:
    """Return the paths to ask for, each once, with what each is called by."""
    seen: set[str] = set()
    for name, path in (*_said(), *_found()):
        if path not in seen:
            seen.add(path)
            yield name, path


def _said() -> Iterator[tuple[str, str]]:
    for name, warm in registered.views():
        for path in _given(warm):
            yield name, path
    for text, made in _by_setting():
        for path in _given(made.warm or ()):
            yield text, path


def _found() -> Iterator[tuple[str, str]]:
    """Return the paths of cached views that have no parameters."""
    names = [text for text, _ in _by_setting()]
    for view_name, route, callback in urlpatterns():
        cls: Any = getattr(callback, "view_class", None)
        name = view_name or route
        is_cached = (
            hasattr(callback, MARK)
            or (cls and issubclass(cls, CachedViewMixin))
            or any(fnmatchcase(name, text) for text in names)
        )
        if is_cached and not set(route) & set("<>()[]^$*+?\\"):
            yield name, route


def _by_setting() -> Iterator[tuple[str, cached_view]]:
    try:
        for text, made in parse_views(conf.CACHE.VIEWS):
            if made.caches:
                yield text.removeprefix("GET "), made
    except InvalidSetting:
        return  # check tells


class _Asker:
    """Asks for paths through the project's middleware, in this process."""

    def __init__(self, host: str, https: bool) -> None:
        self.host, self.https = host or _own_host(), https
        self.handler: Any = None

    def ask(self, path: str) -> Callable[[], str]:
        return lambda: self._ask(path)

    def _ask(self, path: str) -> str:
        if self.handler is None:
            self.handler = BaseHandler()
            self.handler.load_middleware()
        response = self.handler.get_response(self._request(path))
        response.close()
        return "" if response.status_code < 400 else f"status {response.status_code}"

    def _request(self, path: str) -> Any:
        environ: dict[str, Any] = {"SERVER_NAME": self.host, "HTTP_HOST": self.host}
        if settings.USE_X_FORWARDED_HOST:
            environ["HTTP_X_FORWARDED_HOST"] = self.host
        if self.https and settings.SECURE_PROXY_SSL_HEADER:
            name, value = settings.SECURE_PROXY_SSL_HEADER
            environ[name] = value
        return RequestFactory(**environ).get(path, secure=self.https)


def _own_host() -> str:
    for host in settings.ALLOWED_HOSTS:
        if host != "*":
            return str(host).removeprefix(".")
    return "localhost"
