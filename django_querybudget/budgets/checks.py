"""System checks of ``QUERYBUDGET["BUDGETS"]``: names that match no view, values that are none."""

from __future__ import annotations

from collections.abc import Iterator

from django.conf import settings
from django.core.checks import CheckMessage, Error, Warning

from django_querybudget.conf import InvalidSetting, conf

from .by_view import BudgetKey, parse_budgets
from .views import urlpatterns

__all__ = ["check_budgets"]

# HTTP's (RFC 9110, PATCH, QUERY) and WebDAV's (RFC 4918, 3253): a view may answer any of them.
_HTTP = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE", "QUERY"}
_WEBDAV = {"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT"}
_METHODS = _HTTP | _WEBDAV


def check_budgets(**_: object) -> list[CheckMessage]:
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


def _view_names() -> Iterator[tuple[str, ...]]:
    for name, route, _ in urlpatterns():
        yield (name, route) if name else (route,)


def _nearest_method(method: str) -> str:
    from difflib import get_close_matches  # for a message alone

    near = get_close_matches(method, sorted(_METHODS), n=1)
    return f"Did you mean {near[0]!r}? " if near else ""


def _nearest(key: BudgetKey, names: list[tuple[str, ...]]) -> str:
    from difflib import get_close_matches  # for a message alone

    if key.name == "default":
        return 'The budget of every view that has no other is "*".'
    known = sorted({name for of_view in names for name in of_view})
    near = get_close_matches(key.name, known, n=3, cutoff=0.4)
    wanted = f"Did you mean {', '.join(map(repr, near))}? " if near else ""
    return f"{wanted}A key is a view's name, a route that starts with /, or the start of one and *."
