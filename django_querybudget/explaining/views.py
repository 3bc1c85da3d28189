"""Which view is meant: by its name in the URLconf, its route, or the dotted path of its code."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from types import FunctionType
from typing import Any

from django.conf import settings
from django.http import HttpRequest
from django.urls import ResolverMatch

from django_querybudget.budgets.dead_decorators import answering
from django_querybudget.exceptions import QueryBudgetError
from django_querybudget.routing.names import ViewKey
from django_querybudget.routing.views import handlers, ninja_operations, urlpatterns
from django_querybudget.stacks import shown_path

__all__ = ["Asked", "Function", "UnknownView", "View", "views_of"]

MOST_NAMES = 5
_UNTOLD = {"OPTIONS", "HEAD"}


class UnknownView(QueryBudgetError):
    """No view has this name: the text has the nearest."""


@dataclass(frozen=True)
class Function:
    """What the project wrote to answer a view's requests: a function, a class, an operation."""

    name: str
    """Its dotted path."""
    file: str
    """Its file as people read it; empty where it has no source."""
    line: int | None
    """Its first line; None where it has no source."""


@dataclass(frozen=True)
class View:
    """A view of the URLconf."""

    name: str
    """Its name; its route where it has none."""
    url_name: str | None
    """The last part of its name; None where it has none."""
    patterns: tuple[tuple[str, Any], ...]
    """The routes that it has, each with the callback."""

    @property
    def routes(self) -> tuple[str, ...]:
        """Its routes, each with the ``/`` that it begins with."""
        return tuple(dict.fromkeys(route for route, _ in self.patterns))

    @property
    def functions(self) -> tuple[Function, ...]:
        """What answers."""
        written = (each for _, callback in self.patterns for each in _written(callback))
        return tuple(dict.fromkeys(map(_function, written)))

    @property
    def methods(self) -> tuple[str, ...]:
        """The methods that it answers, as far as its code tells: a function does not."""
        told = (each for _, callback in self.patterns for each in _methods(callback))
        return tuple(dict.fromkeys(told))

    def names(self) -> tuple[str, ...]:
        """Return what a key may call it: its name, its routes, its dotted paths."""
        functions = (each.name for each in self.functions)
        return tuple(dict.fromkeys([self.name, *self.routes, *functions]))

    def request(self, method: str) -> HttpRequest:
        """Return a request that this view would answer, for those who ask what holds for one."""
        route, callback = self.patterns[0]
        request = HttpRequest()
        request.method = method
        request.resolver_match = ResolverMatch(
            callback, (), {}, url_name=self.url_name, namespaces=self._namespaces,
            route=route.removeprefix("/"),
        )  # fmt: skip
        return request

    def handlers(self, method: str) -> Iterator[Callable[..., Any]]:
        """Yield what answers requests of a method, the innermost first."""
        match = self.request(method).resolver_match
        if match is not None:
            yield from handlers(match, method)

    @property
    def _namespaces(self) -> list[str | None]:
        return [] if self.url_name is None else [*self.name.split(":")[:-1]]


@dataclass(frozen=True)
class Asked:
    """What a person asked for."""

    method: str
    """The method; empty for all."""
    views: tuple[View, ...]
    """The views that match, one at least."""
    listed: bool
    """Whether a start with an asterisk was given, which asks for the names."""


def views_of(text: str) -> Asked:
    """Return the views that ``text``, a key as in ``BUDGETS`` or a dotted path, stands for.

    Raises :class:`UnknownView`.
    """
    key = ViewKey.of(text)
    views = _every_view()
    found = tuple(each for each in views if key.matches(key.method, each.names()))
    if not found:
        raise UnknownView(_nearest(text, key.name, views))
    return Asked(key.method, found, listed=not key.whole or len(found) > 1)


def _every_view() -> list[View]:
    found: dict[str, list[tuple[str | None, str, Any]]] = {}
    if hasattr(settings, "ROOT_URLCONF"):
        for name, route, callback in urlpatterns():
            found.setdefault(name or route, []).append((name, route, callback))
    return [
        View(
            name,
            None if patterns[0][0] is None else name.rpartition(":")[2],
            tuple((route, callback) for _, route, callback in patterns),
        )
        for name, patterns in found.items()
    ]


def _nearest(text: str, name: str, views: Iterable[View]) -> str:
    known = sorted({each for view in views for each in view.names()})
    if not known:
        return f"No view is called {text!r}: ROOT_URLCONF names none."
    near = get_close_matches(name, known, n=MOST_NAMES, cutoff=0.4)
    wanted = f"Did you mean {', '.join(near)}? " if near else ""
    return (
        f"No view is called {text!r}. {wanted}A view is named as in BUDGETS (jobs:list, "
        "/jobs/<int:pk>/, POST jobs:list), or by its code (jobs.views.list); jobs:* lists those "
        "that begin so."
    )


def _written(callback: Any) -> Iterator[Any]:
    """Yield what the project wrote behind a callback of the URLconf."""
    if operations := ninja_operations(callback):
        yield from (inspect.unwrap(each.view_func) for each in operations)
        return
    cls = getattr(callback, "view_class", None) or getattr(callback, "cls", None)
    if isinstance(cls, type):
        # The class that REST framework's @api_view makes of a function is nobody's.
        made = cls.__qualname__.endswith("WrappedAPIView")
        yield (answering(cls) if made else None) or cls
        return
    while isinstance(callback, partial):
        callback = callback.func
    yield inspect.unwrap(callback)


def _function(written: Any) -> Function:
    if not isinstance(written, type | FunctionType) and not hasattr(written, "__qualname__"):
        written = type(written)  # An instance that is called.
    name = f"{written.__module__}.{written.__qualname__}"
    try:
        file = inspect.getsourcefile(written)
        line: int | None = inspect.getsourcelines(written)[1]
    except (OSError, TypeError):
        return Function(name, "", None)
    return Function(name, shown_path(file), line) if file else Function(name, "", None)


def _methods(callback: Any) -> Iterator[str]:
    for operation in ninja_operations(callback):
        yield from operation.methods
    cls = getattr(callback, "view_class", None) or getattr(callback, "cls", None)
    if cls is None:
        return
    actions = getattr(callback, "actions", None)
    names = actions or [each for each in cls.http_method_names if hasattr(cls, each)]
    yield from (each.upper() for each in names if each.upper() not in _UNTOLD)
