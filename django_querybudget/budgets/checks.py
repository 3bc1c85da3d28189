"""System checks of budgets: names that match no view, and decorators that can never run."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

from django.conf import settings
from django.contrib.auth import signals as auth_signals
from django.core import signals as core_signals
from django.core.checks import CheckMessage, Error, Warning, register
from django.db.models import signals as model_signals
from django.dispatch import Signal

from django_querybudget.conf import InvalidSetting, conf

from .by_view import BudgetKey, decorated, parse_budgets
from .views import ninja_operations, urlpatterns

__all__ = ["check_budgets", "check_decorators"]

# HTTP's (RFC 9110, PATCH, QUERY) and WebDAV's (RFC 4918, 3253): a view may answer any of them.
_HTTP = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "QUERY"}
_WEBDAV = {"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT"}
_METHODS = _HTTP | _WEBDAV


@register("querybudget")
def check_budgets(**_: Any) -> list[CheckMessage]:
    """Report budgets of ``BUDGETS`` that are none, and names that no URL has."""
    messages: list[CheckMessage] = []
    written = conf.BUDGETS
    names = list(_view_names()) if written and hasattr(settings, "ROOT_URLCONF") else []
    for text, value in written.items():
        try:
            list(parse_budgets({text: value}))
        except InvalidSetting as error:
            message = f"{error.name} {error.problem}."
            messages.append(Error(message, hint=error.hint, id="querybudget.E011"))
        key = BudgetKey.of(text)
        if key.method and key.method not in _METHODS:
            messages.append(
                Warning(
                    f'QUERYBUDGET["BUDGETS"][{text!r}] never applies: {key.method!r} is no method.',
                    hint=f"{_nearest_method(key.method)}A key is a view's name, or a method, a "
                    'blank and a name: "POST jobs:list".',
                    id="querybudget.W010",
                )
            )
        elif names and not any(key.matches(key.method, of_view) for of_view in names):
            messages.append(
                Warning(
                    f'QUERYBUDGET["BUDGETS"][{text!r}] matches no view.',
                    hint=_nearest(key, names),
                    id="querybudget.W010",
                )
            )
    return messages


@register("querybudget")
def check_decorators(**_: Any) -> list[CheckMessage]:
    """Report every ``query_budget`` above a decorator that has registered what is below it."""
    registered = list(_registered())
    alive = {id(each) for function, _ in registered for each in _chain(function)}
    messages: list[CheckMessage] = []
    for wrapper in list(decorated):
        if id(wrapper) in alive:
            continue
        below = {id(each) for each in _chain(inspect.unwrap(wrapper))}
        for function, registrar in registered:
            if any(id(each) in below for each in _chain(function)):
                messages.append(_dead(wrapper, registrar))
                break
    return messages


def _dead(wrapper: Callable[..., Any], registrar: str) -> Error:
    code = inspect.unwrap(wrapper).__code__
    name = f"{wrapper.__module__}.{wrapper.__qualname__}"
    return Error(
        f"The query_budget of {name} ({code.co_filename}:{code.co_firstlineno}) never runs: it "
        f"stands above {registrar}, which registered the function below itself.",
        hint=f"Move @query_budget(…) below {registrar}, next to `def {wrapper.__name__}`.",
        obj=name,
        id="querybudget.E010",
    )


def _registered() -> Iterator[tuple[Callable[..., Any], str]]:
    """Yield the functions that others hold by reference, each with what had it registered."""
    if hasattr(settings, "ROOT_URLCONF"):
        for _, route, view in urlpatterns():
            for operation in ninja_operations(view):
                method = min(operation.methods).lower()
                yield operation.view_func, f"the router's @….{method}() of {route}"
    for module in (model_signals, core_signals, auth_signals):
        for name, signal in _signals(module):
            for entry in signal.receivers:
                receiver = entry[1]
                if isinstance(receiver, weakref.ReferenceType):
                    receiver = receiver()
                if receiver is not None:
                    yield receiver, f"@receiver({name})"


def _signals(module: ModuleType) -> Iterator[tuple[str, Signal]]:
    for name, signal in vars(module).items():
        if isinstance(signal, Signal):
            yield name, signal


def _chain(function: Any) -> Iterator[Any]:
    """Yield the function and what it wraps, the outermost first."""
    while function is not None:
        yield function
        function = getattr(function, "__wrapped__", None)


def _view_names() -> Iterator[tuple[str, ...]]:
    for name, route, _ in urlpatterns():
        yield (name, route) if name else (route,)


def _nearest_method(method: str) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for a message alone

    near = get_close_matches(method, sorted(_METHODS), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _nearest(key: BudgetKey, names: list[tuple[str, ...]]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 - for a message alone

    if key.name == "default":
        return 'The budget of every view that has no other is "*".'
    known = sorted({name for of_view in names for name in of_view})
    near = get_close_matches(key.name, known, n=3, cutoff=0.4)
    wanted = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
    return f"{wanted}A key is a view's name, a route that starts with /, or the start of one and *."
