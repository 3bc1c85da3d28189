"""``QUERYBUDGET["CACHE"]["VIEWS"]``: views that are cached with nothing changed in their code.

A key is a name as in ``BUDGETS`` (see :mod:`~django_querybudget.routing.names`), a value what
``cached_view`` would be given: seconds, or a dict of its arguments.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Iterator, Mapping
from typing import Any

from django.http import HttpRequest
from django.utils.module_loading import import_string

from django_querybudget.conf import InvalidSetting, conf
from django_querybudget.routing.names import ByView
from django_querybudget.routing.views import handlers, ninja_operations

from .decorator import MARK, cached_view

__all__ = ["declared", "parse_views"]

logger = logging.getLogger("django_querybudget")

_ARGUMENTS = tuple(inspect.signature(cached_view).parameters)

# VIEWS as it was last, and what it says.
_last: tuple[Mapping[str, Any] | None, ByView[cached_view]] = (None, ByView(()))


def declared(request: HttpRequest) -> cached_view | None:
    """Return what ``VIEWS`` says of the view that answers ``request``; None for nothing.

    A decorator of the view's comes first: then nothing is to be done here.
    """
    global _last
    written = conf.CACHE.VIEWS
    if _last[0] is not written:
        _last = (written, ByView(_readable(written)))
    found = _last[1].of(request)
    return None if found is None or _is_decorated(request) else found


def parse_views(written: Mapping[str, Any]) -> Iterator[tuple[str, cached_view]]:
    """Yield what ``VIEWS`` says. Raises :class:`InvalidSetting` at a value that says nothing."""
    for text, value in written.items():
        try:
            yield text, _made(value)
        except (TypeError, ValueError, ImportError) as error:
            raise InvalidSetting(
                f"{conf.CACHE.path('VIEWS')}[{text!r}]",
                f"is {value!r} ({str(error).rstrip('.')})",
                "It accepts a number of seconds, 0 to leave a view out, or a dict of "
                f"{', '.join(_ARGUMENTS)}.",
            ) from error


def _made(value: Any) -> cached_view:
    if value is None:
        raise TypeError('write {"timeout": None} for no limit, 0 for a view that is not cached')
    if not isinstance(value, Mapping):
        return cached_view(value)
    given = dict(value)
    if unknown := sorted(map(str, given.keys() - set(_ARGUMENTS))):
        raise TypeError(f"it has no {', '.join(unknown)}")
    names = given.get("vary_on")
    if isinstance(names, list | tuple | set | frozenset):
        given["vary_on"] = [_imported(each) for each in names]
    return cached_view(**given)


def _imported(name: Any) -> Any:
    """Return the callable that a dotted path names; what is none, as it is."""
    return import_string(name) if isinstance(name, str) and _is_path(name) else name


def _is_path(name: str) -> bool:
    return "." in name and ":" not in name


def _readable(written: Mapping[str, Any]) -> Iterator[tuple[str, cached_view]]:
    for text, value in written.items():
        try:
            yield from parse_views({text: value})
        except InvalidSetting as error:
            logger.error("%s The view is not cached.", error)


def _is_decorated(request: HttpRequest) -> bool:
    match = request.resolver_match
    if match is None:
        return False
    method = "GET" if request.method == "HEAD" else request.method or ""
    operations = [each.run for each in ninja_operations(match.func) if method in each.methods]
    return any(hasattr(each, MARK) for each in (*operations, *handlers(match, method)))
