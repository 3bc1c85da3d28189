"""``vary_on``: what of a request is part of an answer's key besides its URL."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from asgiref.sync import iscoroutinefunction
from django.db.models import Model
from django.http import HttpRequest

from django_querybudget.cache.keys import Unkeyable, class_name, spelled
from django_querybudget.cache.lazy import unwrapped
from django_querybudget.cache.reading.instances import Untold, extras_of, spelled_state

__all__ = ["Untellable", "VaryOn", "Varying", "user_of"]

VaryOn: TypeAlias = str | Callable[[HttpRequest], Any]

_ACCEPTS = '"user", "session", "cookie:NAME", "header:NAME", or a callable that takes the request'


class Untellable(Exception):
    """What a request has cannot be part of a key; the message is the reason for a bypass."""


@dataclass(frozen=True, slots=True)
class Varying:
    """The inputs that are part of a view's keys."""

    names: tuple[str, ...]
    callables: tuple[Callable[[HttpRequest], Any], ...]

    @classmethod
    def of(cls, vary_on: Any) -> Varying:
        """Return what ``vary_on`` says. Raises :class:`TypeError` or :class:`ValueError`."""
        if isinstance(vary_on, str) or not isinstance(vary_on, Collection):
            raise TypeError(f"vary_on must be a list of {_ACCEPTS}, not {vary_on!r}.")
        names, callables = [], []
        for each in vary_on:
            if callable(each):
                if iscoroutinefunction(each):
                    raise TypeError(f"vary_on: {_name_of(each)}() is async; a key cannot wait.")
                callables.append(each)
                continue
            if not isinstance(each, str):
                raise TypeError(f"vary_on accepts {_ACCEPTS}, not {each!r}.")
            kind, _, name = each.partition(":")
            if each not in ("user", "session") and not (kind in ("cookie", "header") and name):
                raise ValueError(f"vary_on accepts {_ACCEPTS}, not {each!r}.")
            names.append(f"header:{name.lower()}" if kind == "header" else each)
        return cls(tuple(dict.fromkeys(names)), tuple(callables))

    def spelled(self, request: HttpRequest) -> str:
        """Return what ``request`` has of them. Raises :class:`Untellable`."""
        parts = [_SPELLED[each.partition(":")[0]](request, each) for each in self.names]
        for each in self.callables:
            try:
                parts.append(spelled(each(request)))
            except Unkeyable as error:
                raise Untellable(f"vary_on: {_name_of(each)}() returned {error}") from error
            except Exception as error:  # of the project's own, about a request without a tenant
                kind = type(error).__name__
                raise Untellable(f"vary_on: {_name_of(each)}() raised {kind}") from error
        return ";".join(parts)


def user_of(request: HttpRequest) -> Model | None:
    """Return the request's user; None for an anonymous one. Raises :class:`Untellable`."""
    user = unwrapped(getattr(request, "user", None))
    if isinstance(user, Model):
        if user.pk is None:
            raise Untellable("a user without a primary key")
        return user
    if user is None or not getattr(user, "is_authenticated", True):
        return None
    raise Untellable(f"a user that is no model: {type(user).__qualname__}")


def holds_more(user: Model) -> bool:
    """Whether a user holds what was read before: relations, permissions, cached properties.

    It is in no key, and a view that finds it there sends no statement for it.
    """
    fields = {field.attname for field in user._meta.concrete_fields}
    own = vars(user).keys() - fields - extras_of(user).keys() - {"_state", "_password"}
    return bool(own) or bool(user._state.fields_cache)


def _user(request: HttpRequest, name: str) -> str:
    user = user_of(request)
    if user is None:
        who = unwrapped(getattr(request, "user", None))
        # A middleware may have put something on it, as on any.
        own = vars(who) if hasattr(who, "__dict__") else {}
        try:
            return f"nobody {type(who).__qualname__} {spelled(dict(own)) if own else ''}"
        except Unkeyable as error:
            raise Untellable(f"user: {error}") from error
    # All that it holds: a user whose password, flags or group of fields have changed is another.
    try:
        text = f"{class_name(type(user))} {spelled(user.pk)} {spelled_state(user)}"
        return f"{text} {spelled(_auth_hash(user))}"
    except (Untold, Unkeyable) as error:
        raise Untellable(f"user: {error}") from error


def _auth_hash(user: Any) -> Any:
    """Return what a session of this user is checked by."""
    own = getattr(user, "get_session_auth_hash", None)
    return own() if own is not None else None


def _session(request: HttpRequest, name: str) -> str:
    session: Any = getattr(request, "session", None)
    if session is None:
        return "no session"
    try:
        return f"{spelled(session.session_key)} {spelled(dict(session.items()))}"
    except Unkeyable as error:
        raise Untellable(f"session: {error}") from error


def _cookie(request: HttpRequest, name: str) -> str:
    return spelled(request.COOKIES.get(name.partition(":")[2]))


def _header(request: HttpRequest, name: str) -> str:
    return spelled(request.headers.get(name.partition(":")[2]))


def _name_of(function: Callable[..., Any]) -> str:
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


_SPELLED: Mapping[str, Callable[[HttpRequest, str], str]] = {
    "user": _user,
    "session": _session,
    "cookie": _cookie,
    "header": _header,
}
