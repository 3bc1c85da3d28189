"""What a view is called with besides its request: no watched request tells of it.

A decorator above the cached view, a ``setup()``, a permission of Django REST framework may have
read anything of the request, and hand it on as an argument, on the view or on the framework's
request. So all that is part of the key. What cannot be is a bypass: a row above all, which was read
before the view and by no statement of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MethodType
from typing import Any

from django.db.models import Model
from django.http import HttpRequest

from django_querybudget.cache.keys import Unkeyable, class_name, spelled
from django_querybudget.cache.lazy import unwrapped

from .absent import has_no_body
from .varying import Untellable

__all__ = ["PLAIN", "Call"]

# What Django and Django REST framework put on a view before its method is called: the arguments,
# and what the framework makes of settings and the path.
_OF_VIEWS = frozenset(
    {
        "request",
        "args",
        "kwargs",
        "headers",
        "format_kwarg",
        "action",
        "action_map",
        "_negotiator",
        "_paginator",
    }
)
# What Django REST framework puts on its request; those that tell something are looked at.
_OF_REQUESTS = frozenset(
    {
        "_request", "parsers", "authenticators", "negotiator", "parser_context", "_data", "_files",
        "_full_data", "_content_type", "_stream", "_user", "_auth", "_authenticator",
        "accepted_renderer", "accepted_media_type", "version", "versioning_scheme",
        "csrf_processing_done", "_parsed_accept_list",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Call:
    """What a view is called with."""

    given: Any = None
    """The request that it is given, where that may be another than Django's."""
    args: tuple[Any, ...] = ()
    kwargs: Mapping[str, Any] = field(default_factory=dict)
    view: Any = None
    """The function that is called: of a method, its object is looked at, too."""

    def spelled(self, request: HttpRequest, *, holds_user: bool) -> str:
        """Return it as part of a key, which ``holds_user`` or not. Raises :class:`Untellable`."""
        parts = []
        if self.args or self.kwargs:
            parts.append(_told("an argument of the view", (self.args, dict(self.kwargs))))
        if self.given is not None and self.given is not request:
            parts += _of_framework(self.given, request, holds_user=holds_user)
        if (instance := _instance_of(self.view)) is not None:
            parts += _of_view(instance, request)
        return ";".join(parts)


PLAIN = Call()
"""A view that is given the request alone."""


def _told(what: str, value: Any) -> str:
    """Spell a value. Raises :class:`Untellable` if it has no spelling, or holds a row."""
    try:
        text = spelled(value)
    except Unkeyable as error:
        raise Untellable(f"{what}: {error}") from error
    # What has a spelling ends: it holds no part of itself.
    if row := next(_rows(value), None):
        raise Untellable(f"{what} is a row that was read before: {row}")
    return text


def _rows(value: Any) -> Iterator[str]:
    value = unwrapped(value)
    if isinstance(value, Model):
        yield value._meta.label
    elif isinstance(value, list | tuple | set | frozenset):
        for each in value:
            yield from _rows(each)
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _rows(each)


def _instance_of(view: Callable[..., Any] | None) -> Any:
    """Return the object of a class-based view whose method is called."""
    found: Any = view
    if isinstance(found, partial):  # method_decorator() has a partial of the method
        found = found.args[0] if found.args else found.func
    if isinstance(found, MethodType):
        found = found.__self__
    return found if callable(getattr(type(found), "as_view", None)) else None


def _of_view(instance: Any, request: HttpRequest) -> Iterator[str]:
    match = request.resolver_match
    given: dict[str, Any] = {}
    for name in ("initkwargs", "view_initkwargs"):
        given |= getattr(match and match.func, name, None) or {}
    for name, value in sorted(vars(instance).items()):
        is_own = isinstance(value, MethodType) and value.__self__ is instance
        if name in _OF_VIEWS or is_own or (name in given and given[name] is value):
            continue
        if isinstance(value, type):
            yield f"{name}={_class(name, value)}"
        else:
            yield f"{name}={_told(f'self.{name} of the view', value)}"


def _class(name: str, value: type) -> str:
    try:
        return class_name(value)
    except Unkeyable as error:
        raise Untellable(f"self.{name} of the view: {error}") from error


def _of_framework(given: Any, request: HttpRequest, *, holds_user: bool) -> Iterator[str]:
    """Yield what Django REST framework made of a request before its view's method is called."""
    own = vars(given)
    user = unwrapped(own.get("_user"))
    if not holds_user and getattr(user, "is_authenticated", False):
        raise Untellable("the user was looked up before the view, and vary_on leaves it out")
    read = getattr(own.get("_full_data"), "__name__", "") != "Empty"
    if read and not has_no_body(request.META):
        raise Untellable("the body was read before the view")
    told = (own.get("_auth"), own.get("accepted_media_type"), own.get("version"))
    yield _told("request.auth or request.version", told)
    for name in sorted(own.keys() - _OF_REQUESTS):
        yield f"{name}={_told(f'request.{name}', own[name])}"
