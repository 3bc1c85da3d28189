"""What a request has not got: an answer for which it was looked for holds for others without it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.http import HttpRequest, parse_cookie

from django_querybudget.cache.lazy import unwrapped

from .observing import INPUTS

__all__ = ["cookies_of", "has_no_body", "is_absent", "is_empty_session", "is_nobody"]


def is_absent(request: HttpRequest, name: str) -> bool:
    """Whether ``request`` has not got an input either, which another one had not."""
    found = _is_absent(request, name)
    watching = request.__dict__.get(INPUTS)
    if watching is not None:  # another cached view has called this one: so it depends on that, too
        watching.note(name, is_there=not found)
    return found


def _is_absent(request: HttpRequest, name: str) -> bool:  # noqa: PLR0911  # one kind after another
    kind, _, rest = name.partition(":")
    if kind == "header":
        return f"HTTP_{rest.upper().replace('-', '_')}" not in request.META
    if kind == "META":
        return rest not in request.META
    if kind == "cookie":
        return rest not in request.COOKIES
    if name == "all cookies":
        return "HTTP_COOKIE" not in request.META
    if name == "messages":
        return not _has_messages(request)
    if name == "session":
        return is_empty_session(request.__dict__.get("session"))
    if name == "body":
        return has_no_body(request.META)
    return name == "user" and is_nobody(unwrapped(request.__dict__.get("user")))


def is_nobody(user: object) -> bool:
    """Whether a visitor is as every other one who is not logged in."""
    kind = type(user)  # by its name: to import it, the app has to be installed
    named = (kind.__module__, kind.__qualname__)
    return named == ("django.contrib.auth.models", "AnonymousUser") and not vars(user)


def cookies_of(own: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] | None = own.get("COOKIES")
    return parse_cookie(own["META"].get("HTTP_COOKIE", "")) if found is None else found


def has_no_body(meta: Mapping[str, Any]) -> bool:
    return meta.get("CONTENT_LENGTH") in (None, "", "0") and "HTTP_TRANSFER_ENCODING" not in meta


def is_empty_session(session: Any) -> bool:
    """Whether nothing is in a session, and none exists: one is not made by asking."""
    if session is None:
        return True
    try:
        return bool(session.session_key is None and session.is_empty())
    except AttributeError:  # not one of Django's
        return False


def _has_messages(request: HttpRequest) -> bool:
    """Whether messages wait, wherever Django's storages keep them. Reads none."""
    storage = request.__dict__.get("_messages")
    if storage is None:
        return False
    if getattr(storage, "added_new", False) or "messages" in request.COOKIES:
        return True
    session = request.__dict__.get("session")
    return session is not None and not is_empty_session(session) and "_messages" in session
