"""What a view reads of its request, seen while it runs.

An answer is kept under what its key holds of the request. If the view looks at anything else, a
cookie, the session, what a middleware put there, its answer is not another request's. So a view
that is run for the cache gets its request *observed*: the same object, whose class is one that
notes what is read, until the view is done.

What is read and is not there (no ``Authorization`` header, an empty session) is a *condition*: the
answer holds for every request that has not got it either.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import Any

from django.conf import settings
from django.http import HttpRequest, parse_cookie
from django.utils.functional import SimpleLazyObject

from django_querybudget.cache.lazy import unwrapped

from .answers import CONDITIONS
from .noting import NotedDict, NotedHeaders

__all__ = ["Inputs", "is_absent", "observed"]

# In every key, or the same wherever a process of the project runs.
_IN_KEY = frozenset(
    {
        "REQUEST_METHOD", "PATH_INFO", "SCRIPT_NAME", "QUERY_STRING", "SERVER_SOFTWARE",
        "GATEWAY_INTERFACE", "REQUEST_SCHEME", "HTTPS", "CONTENT_TYPE",
    }
)  # fmt: skip

# What middleware sets on a request, and what is in the key or looked at otherwise.
_OF_KEY = frozenset(
    {
        "method", "path", "path_info", "script_name", "GET", "resolver_match", "content_type",
        "content_params", "encoding", "urlconf", "LANGUAGE_CODE", "upload_handlers", "user",
        "exception_reporter_filter", "exception_reporter_class", "csrf_processing_done",
        "csrf_cookie_needs_reset", "__class__", "__dict__",
    }
)  # fmt: skip


class Inputs:
    """What was read of one request, besides what is in every key.

    Names are ``user``, ``session``, ``messages``, ``body``, ``client address``, ``cookie:NAME``,
    ``header:NAME`` (as in HTTP, lower case), ``META:NAME``, and ``request:NAME`` for an attribute
    that some middleware set. ``all headers`` and ``all cookies`` cannot be told apart further.
    """

    def __init__(self, request: HttpRequest, known: Iterable[str]) -> None:
        self.read: set[str] = set()
        self.absent: set[str] = set()
        self.negotiated: set[str] = set()
        """Headers by which a framework chose the form of the answer: parts of the key, as if the
        response varied on them."""
        self.used_session = False
        """Whether a response would say that it varies on the cookie: the session was read, or the
        user that comes from it."""
        self._own = request.__dict__
        self._outer = frozenset(name for name in self._own if name[0] != "_") - _OF_KEY
        self.known = frozenset(known)
        self._forwarded = _forwarded_headers()
        self._noting: dict[int, NotedDict] = {}

    def note(self, name: str, *, is_there: bool) -> None:
        """Something was read."""
        if name not in self.known:
            (self.read if is_there else self.absent).add(name)

    def note_user(self, user: object) -> None:
        """The user was read; None for one that is not known yet."""
        self.used_session = True
        self.note("user", is_there=not _is_nobody(user))

    def note_meta(self, key: Any) -> None:
        """A key of ``META`` was read."""
        if not isinstance(key, str) or key in _IN_KEY or key in self._forwarded:
            return
        is_there = key in self._own["META"]
        reader = sys._getframe(2).f_globals.get("__name__")
        if key in CONDITIONS and reader == "django.utils.cache":
            return  # what it answers then is not kept, and a hit is asked the same
        if key == "HTTP_ACCEPT" and reader == "rest_framework.negotiation":
            self.negotiated.add("accept")
        elif key in ("CONTENT_LENGTH", "wsgi.input"):
            self.note("body", is_there=not _has_no_body(self._own["META"]))
        elif key in ("REMOTE_ADDR", "REMOTE_HOST", "REMOTE_PORT"):
            self.note("client address", is_there=True)
        elif key == "HTTP_COOKIE":
            self.note("all cookies", is_there=is_there)
        elif key.startswith("HTTP_"):
            self.note(f"header:{key[5:].replace('_', '-').lower()}", is_there=is_there)
        elif not key.startswith(("wsgi.", "asgi.", "CSRF_COOKIE")):
            # Whether a CSRF token was used is looked at when the answer is there.
            self.note(f"META:{key}", is_there=is_there)

    def note_cookie(self, name: Any) -> None:
        """A cookie was read."""
        frame = sys._getframe(2)
        reader = frame.f_globals.get("__name__")
        if reader == "django.middleware.csrf":
            return  # its check reads its cookie in the views of Django REST framework
        if reader == "ninja.security.apikey" and name == settings.SESSION_COOKIE_NAME:
            owner = type(frame.f_locals.get("self"))
            if owner.__module__ == "ninja.security.session":
                return  # it asks for the user, and does nothing with the cookie
        self.note(f"cookie:{name}", is_there=name in _cookies(self._own))

    def note_attribute(self, name: str) -> None:
        """An attribute of the request was read."""
        if name in _BODY:
            self.note("body", is_there=not _has_no_body(self._own["META"]))
        elif name in _ACCEPT:
            self.note_meta("HTTP_ACCEPT")
        elif name == "get_signed_cookie":
            self.note_meta("HTTP_COOKIE")
        elif name == "auser":
            self.note_user(None)
        elif name in ("_cached_user", "_acached_user"):
            if name in self._own:  # else the session is read, which is seen
                self.note_user(self._own[name])
        elif name == "get_port":
            self.note("META:SERVER_PORT", is_there=True)
        elif name == "scope":
            self.note("all headers", is_there=True)
        elif name == "session":
            if not hasattr(self._own.get("session"), "accessed"):  # not one of Django's
                self.note("session", is_there=True)
        elif name in self._outer:
            self.note(f"request:{name}", is_there=True)

    def noting(
        self, name: str, raw: Any, note: Callable[[Any], None], everything: str
    ) -> NotedDict:
        """Return ``raw``, a dict of the request's, in a form that notes what is read of it."""
        found = self._noting.get(id(raw))
        if found is None:
            found = self._noting[id(raw)] = NotedDict(
                raw, note, partial(self.note, everything, is_there=True)
            )
        return found


def is_absent(request: HttpRequest, name: str) -> bool:  # noqa: PLR0911  # one kind after another
    """Whether ``request`` has not got an input either, which another one had not."""
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
        return _is_empty(request.__dict__.get("session"))
    if name == "body":
        return _has_no_body(request.META)
    return name == "user" and _is_nobody(unwrapped(request.__dict__.get("user")))


@contextmanager
def observed(request: HttpRequest, known: Iterable[str]) -> Iterator[Inputs]:
    """Note what a block reads of ``request``; ``known`` are the inputs that its key holds."""
    inputs = Inputs(request, known)
    own, kind = request.__dict__, type(request)
    session, user = own.get("session"), own.get("user")
    accessed = getattr(session, "accessed", None)
    if accessed:
        session.accessed = False  # type: ignore[union-attr]  # before the view
    if user is not None:
        own["user"] = noted = _noted(user, inputs)
    lent = "user" in inputs.known and "_acached_user" not in own and "_cached_user" in own
    if lent:  # auser() would read the session again, for the user that the key has
        own["_acached_user"] = own["_cached_user"]
    own[_NAME] = inputs
    request.__class__ = _observing(kind)  # type: ignore[arg-type]  # Hashable
    try:
        yield inputs
    finally:
        request.__class__ = kind
        own.pop(_NAME, None)
        if lent:
            own.pop("_acached_user", None)
        if user is not None and own.get("user") is noted:
            own["user"] = user
        if getattr(session, "accessed", False):
            inputs.used_session = True
            inputs.note("session", is_there=not _is_empty(session))
        if accessed is not None and (accessed or inputs.used_session):
            session.accessed = True  # type: ignore[union-attr]
        _note_messages(own.get("_messages"), inputs)


def _noted(user: Any, inputs: Inputs) -> Any:
    """Return the user, lazily: that a template's context holds it says nothing yet."""

    def read() -> Any:
        found = unwrapped(user)
        inputs.note_user(found)
        return found

    return SimpleLazyObject(read)


def _is_nobody(user: object) -> bool:
    """Whether a visitor is as every other one who is not logged in."""
    kind = type(user)  # by its name: to import it, the app has to be installed
    named = (kind.__module__, kind.__qualname__)
    return named == ("django.contrib.auth.models", "AnonymousUser") and not vars(user)


def _cookies(own: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] | None = own.get("COOKIES")
    return parse_cookie(own["META"].get("HTTP_COOKIE", "")) if found is None else found


def _has_no_body(meta: Mapping[str, Any]) -> bool:
    return meta.get("CONTENT_LENGTH") in (None, "", "0") and "HTTP_TRANSFER_ENCODING" not in meta


def _forwarded_headers() -> frozenset[str]:
    """Return the headers from which Django makes the scheme and host of the key."""
    names = {"HTTP_X_FORWARDED_HOST" if settings.USE_X_FORWARDED_HOST else "HTTP_HOST"}
    if settings.SECURE_PROXY_SSL_HEADER:
        names.add(settings.SECURE_PROXY_SSL_HEADER[0])
    return frozenset(names)


def _is_empty(session: Any) -> bool:
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
    return session is not None and not _is_empty(session) and "_messages" in session


def _note_messages(storage: Any, inputs: Inputs) -> None:
    if storage is None:
        return
    loaded = vars(storage).get("_loaded_data")
    if loaded is not None or storage.used or storage.added_new:
        inputs.note("messages", is_there=bool(loaded or storage.added_new))


# Whose reads are no view's: the request's own methods.
_OWN_MODULES = frozenset(
    {"django.http.request", "django.core.handlers.wsgi", "django.core.handlers.asgi"}
)
_BODY = frozenset({"body", "POST", "FILES", "read", "readline", "readlines"})
_ACCEPT = frozenset(
    {
        "accepts", "accepted_type", "accepted_types", "accepted_types_by_precedence",
        "get_preferred_type",
    }
)  # fmt: skip


@lru_cache(maxsize=64)
def _observing(kind: type[HttpRequest]) -> type[HttpRequest]:
    """Return the subclass of a request's class that notes what is read."""
    plain = kind.__getattribute__

    def __getattribute__(self: Any, name: str) -> Any:  # noqa: N807
        own = object.__getattribute__(self, "__dict__")
        inputs: Inputs | None = own.get(_NAME)
        if inputs is None or sys._getframe(1).f_globals.get("__name__") in _OWN_MODULES:
            return plain(self, name)
        if name in ("META", "environ"):
            return inputs.noting(name, plain(self, name), inputs.note_meta, "all headers")
        if name == "COOKIES":
            return inputs.noting(name, plain(self, name), inputs.note_cookie, "all cookies")
        if name == "headers":
            return NotedHeaders(
                own["META"], inputs.note_meta, partial(inputs.note, "all headers", is_there=True)
            )
        inputs.note_attribute(name)
        return plain(self, name)

    names = {
        "__module__": kind.__module__,
        "__qualname__": kind.__qualname__,
        "__doc__": kind.__doc__,
        "__getattribute__": __getattribute__,
    }
    return type(kind.__name__, (kind,), names)


_NAME = "_querybudget_inputs"
